"""`kvmctl pin auto`: the best place for VMs, with a reason and a proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import vm_arguments
from kvmctl.commands._picture import drawn
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when_options
from kvmctl.errors import UsageError
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.host.placing import Plan
    from kvmctl.parallel import Work
    from kvmctl.spec.model.tuning import Wishes


@command("auto")
@vm_arguments()
@click.option(
    "--policy", type=click.Choice(["compact", "spread", "isolate"]), help="Together, apart, or away from others."
)
@click.option(
    "--threads",
    type=click.Choice(["share", "own_core", "siblings"]),
    help="Any threads of cores, a core for each vCPU, or whole cores.",
)
@click.option("--exclusive/--no-exclusive", default=None, help="Whether no other VM may be pinned to its CPUs.")
@click.option(
    "--near", multiple=True, metavar="DEVICE", help="Be near to a PCI address, an interface, or its own: pci."
)
@click.option("--stopped", type=click.Choice(["honour", "ignore"]), help="Whether VMs that do not run keep their CPUs.")
@click.option("--cpus", metavar="CPUS", help="Use these CPUs only, for example 2-7.")
@click.option("--nodes", metavar="NODES", help="Use these NUMA nodes only, for example 1.")
@when_options
@click.pass_obj
def auto(
    app: App,
    vms: list[str],
    policy: str | None,
    threads: str | None,
    exclusive: bool | None,
    near: tuple[str, ...],
    stopped: str | None,
    cpus: str | None,
    nodes: str | None,
    now: bool,
    next_boot: bool,
    dry_run: bool,
) -> None:
    """Find the best place for VMs, and pin them there.

    Each vCPU gets a CPU of its own; QEMU's other threads float over CPUs beside the vCPUs' cores; the memory goes to
    the nodes of the vCPUs. No other placement is better, and the plan says why. Looked at are, in this order: CPUs that
    other VMs are pinned to; memory on nodes without a vCPU; the distance between the nodes, and to the devices named
    with --near; with --policy isolate, L3 caches with other VMs in them; the number of L3 caches; split and shared
    cores; QEMU's own threads on the vCPUs' cores; and how many odd CPUs would be left over.

    What is wished with the options is kept with the VM, and counts when it is planned again. A running VM moves at
    once, and what libvirt can only change at boot is said. The topology of a guest that was created with
    cpu.topology: auto follows at its next boot. An exclusive VM's CPUs are left alone by every later plan,
    and what 'pin pool' or kvmctl itself lets float, of other VMs, is moved off them.

    \b
      kvmctl pin auto web1 --dry-run
      kvmctl pin auto web1 --exclusive --threads siblings --near eth2

    \b
    With -o json it prints one object, or an array for several VMs, with the
    fields name, uuid, state, host and
      vcpus        number and cpu of each vCPU
      helpers      CPUs over which QEMU's other threads float
      memory       bytes by node
      exclusive    whether the CPUs are this VM's alone
      cost         what the placement costs, by criterion, in order
      bound        no placement costs less than this
      cases        how many sets of nodes were told apart to prove that
      reason       in sentences
      notes        what comes only with the next boot; which VMs were moved
      dry_run      whether nothing was changed

    \b
    Exit codes:
      0  pinned
      3  there is no such VM, or no such device
      5  nothing fits: what stands in the way, and what would fit, is told
      6  others took the CPUs that were planned for, again and again
      9  some of several VMs failed
    """
    check_when(now, next_boot)
    allowed = _numbers("--cpus", cpus), _numbers("--nodes", nodes)
    times = not next_boot, not now
    given: dict[str, Any] = {
        "policy": policy,
        "threads": threads,
        "exclusive": exclusive,
        "near": near or None,
        "stopped": stopped,
    }
    plans: dict[str, Plan] = {}

    def wishes(before: Wishes) -> Wishes:
        from dataclasses import replace

        return replace(before, **{key: value for key, value in given.items() if value is not None})

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.moving import automatic

        item, plan = automatic(host, vm, work, wishes=wishes, allowed=allowed, times=times, dry_run=dry_run)
        plans[item["name"]] = plan
        return item

    def sentence(item: dict[str, Any]) -> str:
        where = ",".join(str(vcpu["cpu"]) for vcpu in item["vcpus"])
        said = f"{item['name']}: {'would be pinned' if dry_run else 'pinned'} to {where}"
        return "\n  ".join((said, *([] if dry_run else item["reason"]), *item["notes"]))

    def answer(items: Sequence[dict[str, Any]], single: bool) -> None:
        if dry_run and app.settings.output in ("table", "wide"):
            for plan in plans.values():
                app.output.text("\n".join([*drawn(app.output, _picture(app, plan)), "", *plan.sentences, ""]))
        else:
            app.output.done(items, single=single)

    each(app, vms, deed, sentence=sentence, answer=answer)


def _picture(app: App, plan: Plan) -> Iterable[Iterable[tuple[str, str]]]:
    from kvmctl.plan.placement.picture import picture

    return picture(plan.topology, plan.others, width=app.output.width, planned=plan.tenant)


def _numbers(option: str, text: str | None) -> frozenset[int] | None:
    """A set of CPUs or nodes as Linux writes it."""
    from kvmctl.spec.kinds import parse_cpus

    try:
        return None if text is None else parse_cpus(text)
    except ValueError as problem:
        raise UsageError("usage", f"{option}: {problem}") from None
