"""`kvmctl pin set`: pin a VM's threads and memory by hand, and limit them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import vm_arguments
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when, when_options
from kvmctl.commands.pin._wish import change_of
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.app import App

MODES = ("strict", "preferred", "interleave", "restrictive")


@command("set")
@vm_arguments()
@click.option("--vcpu", "vcpus", multiple=True, metavar="N=CPUS", help="Pin vCPUs; without '=', see --scheduler.")
@click.option("--emulator", metavar="CPUS", help="Pin QEMU's own threads.")
@click.option("--iothread", "iothreads", multiple=True, metavar="N=CPUS", help="Pin iothreads.")
@click.option("--nodes", metavar="NODES", help="Hold memory to these NUMA nodes of the host.")
@click.option("--mode", type=click.Choice(MODES), help="How firmly, from the next boot on; strict if nothing is said.")
@click.option("--scheduler", metavar="POLICY", help="Policy of vCPUs: other, batch, idle, fifo:PRIORITY, rr:PRIORITY.")
@click.option("--emulator-scheduler", metavar="POLICY", help="Policy of QEMU's main thread.")
@click.option("--shares", metavar="N|none", help="Weight against other VMs when the host is busy.")
@click.option("--quota", metavar="N%|none", help="Most CPU time of the whole VM, in percent of one host CPU.")
@click.option("--period", metavar="TIME|none", help="Time over which the quota is counted, for example 50ms.")
@click.option("--force", is_flag=True, help="Use CPUs, too, that another VM is to have alone.")
@when_options
@click.pass_obj
def set_(app: App, /, vms: list[str], now: bool, next_boot: bool, force: bool, dry_run: bool, **options: Any) -> None:
    """Pin vCPUs, helper threads and memory; set scheduler, shares, quota.

    What is not named stays as it is. Both the running VM and its next boot are changed, unless one is asked for; what
    cannot be done to a running VM is said, and holds from its next boot on. A VM gets all that is asked for, or is
    left as it was. Whatever is impossible is said at once, before anything is done.

    \b
    --vcpu 0=4           vCPU 0 on CPU 4
    --vcpu 0=4-7         vCPU 0 anywhere on CPUs 4 to 7
    --vcpu 1-3=5-7       as many CPUs as vCPUs: each gets one, in order
    --vcpu 0-3=8-15      otherwise each may run on all of them
    --iothread 1=2       iothread 1 on CPU 2
    --scheduler fifo:10  all vCPUs in real time; with --vcpu 0-1 (or
                         --iothread 1) without '=', these threads alone

    fifo and rr come before everything else on the host: a guest that is busy can then starve the host. A VM that kvmctl
    had placed ('pin auto') or keeps in the pool is placed by hand once threads of it are pinned, and left there.

    Schedulers are set at once where kvmctl runs on the host itself, as root; libvirt alone sets them at the next boot.

    \b
    With -o json it prints one object, or an array for several VMs, with the fields
      name, uuid, state, host
      changed         false if all of it was so already
      now, next_boot  whether the running VM was changed, and its definition
      set             what was asked for, and of it only what was: vcpus,
                      emulator, iothreads, nodes, mode, vcpu_schedulers,
                      emulator_scheduler, iothread_schedulers, shares, quota
                      (percent), period_us (microseconds)
      postponed       what holds from the next boot on only, and why
      notes           what may not be what was meant; which VMs were moved
      dry_run
    The error "impossible" has its reasons as an array: code, message, hint.

    \b
    Exit codes:
      0  done
      2  the options are wrong
      3  there is no such VM
      5  it is impossible, or not on this host
      9  some of several VMs failed
    """
    check_when(now, next_boot)
    change = change_of(options)

    from kvmctl.host.repinning import change as pin
    from kvmctl.host.surroundings import Surroundings

    around = Surroundings()
    each(
        app,
        vms,
        lambda host, vm, work: pin(
            host, vm, change, work, around, now=now, next_boot=next_boot, force=force, dry_run=dry_run
        ),
        sentence=_sentence,
    )


def _sentence(item: dict[str, Any]) -> str:
    if not item["changed"]:
        said = f"{item['name']}: is so already"
    else:
        verb = "would have" if item["dry_run"] else "has"
        said = f"{item['name']}: {verb} {', '.join(_parts(item['set']))}; {when(item)}"
    return "\n".join([said, *(f"  {note}" for note in (*item["postponed"], *item["notes"]))])


def _parts(given: dict[str, Any]) -> Iterator[str]:
    """What was set, in the order of the options."""
    yield from (f"{who} on {cpus}" for who, cpus in _alike("vCPU", given.get("vcpus", {})))
    yield from (f"the emulator on {cpus}" for cpus in (given.get("emulator"),) if cpus)
    yield from (f"{who} on {cpus}" for who, cpus in _alike("iothread", given.get("iothreads", {})))
    yield from (f"memory on node {nodes}" for nodes in (given.get("nodes"),) if nodes)
    yield from (f"{who} {policy}" for who, policy in _alike("vCPU", given.get("vcpu_schedulers", {})))
    yield from (f"the emulator {policy}" for policy in (given.get("emulator_scheduler"),) if policy)
    yield from (f"{who} {policy}" for who, policy in _alike("iothread", given.get("iothread_schedulers", {})))
    for name, unit in (("shares", ""), ("quota", "%")):
        if name in given:
            yield f"{name} {given[name]:g}{unit}" if given[name] else f"no {name}"


def _alike(what: str, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Threads that have the same value, together."""
    from kvmctl.spec.kinds import show_cpus

    for value in dict.fromkeys(values.values()):
        numbers = frozenset(int(number) for number, found in values.items() if found == value)
        yield f"{what}{'s' * (len(numbers) > 1)} {show_cpus(numbers)}", value
