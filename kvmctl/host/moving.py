"""Puts VMs that exist where the planner wants them, and moves others out of the way that only float.

What a plan says is done to the running threads and to the definition, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from kvmctl.errors import KvmctlError, Refused
from kvmctl.host import pinning
from kvmctl.host.connection import translated
from kvmctl.host.domains import find, summary
from kvmctl.host.library import libvirt
from kvmctl.host.placing import Plan, check_alone, propose, retried
from kvmctl.host.redefining import READ, redefine
from kvmctl.host.tenants import tenants
from kvmctl.host.topology import topology
from kvmctl.host.undoing import Undo
from kvmctl.plan.placement.follow import follows, loosened, write_topology
from kvmctl.plan.placement.pins import Pins, most_vcpus, placement_of
from kvmctl.plan.placement.pool import Move, refit
from kvmctl.plan.placement.request import ignores_stopped
from kvmctl.plan.tuning import open_again
from kvmctl.spec.declare import read, write
from kvmctl.spec.kinds import show_cpus
from kvmctl.spec.model.tuning import Wishes
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


def automatic(
    host: Host,
    name: str,
    work: Work,
    *,
    wishes: Callable[[Wishes], Wishes],
    allowed: tuple[frozenset[int] | None, frozenset[int] | None],
    times: tuple[bool, bool],
    dry_run: bool,
) -> tuple[dict[str, Any], Plan]:
    """Plan a place for a VM, and pin it there.

    `wishes` changes what was wished for it before; `allowed` are the CPUs and the nodes that it may have, where
    bounded; `times` tells whether its running threads are meant, and whether its next boot is.
    """
    domain = find(host, name)
    cpus, nodes = allowed
    with translated(vm=domain.name(), doing="look at it"):
        live, config = times[0] and bool(domain.isActive()), times[1] and bool(domain.isPersistent())
    if not live and not config:
        raise Refused(
            "vm-not-running",
            "is not running, and only its running threads were to be pinned",
            hint=f"kvmctl pin auto {domain.name()} pins it for its next boot",
            vm=domain.name(),
        )

    def attempt() -> tuple[Plan, tuple[str, ...]]:
        with translated(vm=domain.name(), doing="read its definition"):
            document = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if config else 0))
        vm = open_again(read(Vm, document))
        assert vm.cpu is not None
        vm = replace(
            vm,
            numa=vm.numa if nodes is None else vm.numa and replace(vm.numa, nodes=None),
            cpu=replace(vm.cpu, placement=wishes(vm.cpu.placement or Wishes())),
        )
        mirrored = config and follows(document)
        if mirrored:
            vm = loosened(vm)
        plan = propose(host, vm, document=document, uuid=domain.UUIDString(), cpus=cpus, nodes=nodes)
        if dry_run:
            return plan, ()
        return plan, _pin(host, domain, plan, work, live=live, config=config, mirrored=mirrored)

    plan, notes = retried(work, attempt)
    moved = () if dry_run else refit_others(host, but=domain.UUIDString())
    return {**summary(host, domain), **described(plan), "notes": [*notes, *moved], "dry_run": dry_run}, plan


def _pin(
    host: Host, domain: libvirt.virDomain, plan: Plan, work: Work, *, live: bool, config: bool, mirrored: bool
) -> tuple[str, ...]:
    """Do what the plan says, and take it back if somebody else was faster. `mirrored`: the guest sees its place."""
    cpu, numa = plan.vm.cpu, plan.vm.numa
    assert cpu is not None and isinstance(cpu.pin, dict)
    pins = Pins(
        vcpus=cpu.pin,
        emulator=cpu.emulator_pin,
        iothreads=cpu.iothread_pin,
        nodes=numa.nodes if numa else None,
        mode=numa.mode if numa else None,
    )
    kept = Element("placement")
    write(cpu.placement, kept)
    with Undo(domain.name()) as undo:
        seen = mirrored and _reflect(domain, plan.vm, undo)
        notes = pinning.apply(host, domain, pins, live=live, config=config, undo=undo, work=work)
        pinning.set_placement(domain, kept.attrib, live=live, config=config, undo=undo)
        work.check()
        check_alone(host, domain.UUIDString(), running=ignores_stopped(plan.vm))
    return (*notes, *["its guest sees the new place from its next boot on"] * (live and seen))


def _reflect(domain: libvirt.virDomain, vm: Vm, undo: Undo) -> bool:
    """Have the guest see, from its next boot on, where it is. False if it does already."""
    with translated(vm=domain.name(), doing="read its definition"):
        before = read(Vm, parse(domain.XMLDesc(READ)))
    undo.add(lambda: redefine(domain, lambda document: write_topology(document, before)))
    return redefine(domain, lambda document: write_topology(document, vm))


def refit_others(host: Host, *, but: str = "") -> tuple[str, ...]:
    """Move what floats off CPUs that are an exclusive VM's now, and back where they were given up; sentences of it.

    What this goes along with is done by then, so a VM that cannot be moved is told of and no error.
    """
    said: list[str] = []
    try:
        moves = [move for move in refit(topology(host), tenants(host)) if move.uuid != but]
    except KvmctlError as problem:
        return (f"whether other VMs must make room is not known: {problem.message}",)
    for move in moves:
        try:
            _move(host, move)
        except KvmctlError as problem:
            said.append(f"{move.vm}: its threads could not be moved: {problem.message}")
            continue
        what = "vCPUs float" if move.vcpus else "helpers float"
        where = move.vcpus or move.emulator or next(iter((move.iothreads or {}).values()), frozenset())
        said.append(f"{move.vm}: its {what} over {show_cpus(where)} now")
    return tuple(said)


def _move(host: Host, move: Move) -> None:
    with translated(vm=move.vm, doing="move its threads"):
        domain = host.conn.lookupByUUIDString(move.uuid)
        most = most_vcpus(parse(domain.XMLDesc(0)))
        pins = Pins(
            vcpus=dict.fromkeys(range(most), move.vcpus) if move.vcpus else None,
            emulator=move.emulator,
            iothreads=move.iothreads,
        )
        live, config = bool(domain.isActive()), bool(domain.isPersistent())
    pinning.apply(host, domain, pins, live=live, config=config)


def refit_after(host: Host, documents: Iterable[Element], *, but: str = "") -> tuple[str, ...]:
    """The same, after a VM of which these were the documents was changed: if it had CPUs for itself alone."""
    alone = any((placement_of(document) or {}).get("exclusive") == "yes" for document in documents)
    return refit_others(host, but=but) if alone else ()


def described(plan: Plan) -> dict[str, Any]:
    """A plan as programs read it."""
    placement = plan.placement
    return {
        "vcpus": [{"number": number, "cpu": cpu} for number, cpu in enumerate(placement.vcpus)],
        "helpers": show_cpus(placement.helpers),
        "memory": {str(node): size for node, size in placement.memory.items()},
        "exclusive": plan.wish.exclusive,
        "cost": placement.cost.as_dict(),
        "bound": placement.certificate.bound.as_dict(),
        "cases": len(placement.certificate.cases),
        "reason": list(plan.sentences),
    }
