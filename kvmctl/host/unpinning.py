"""Takes away what pins a VM, so that it floats over the whole host, or over the pool if it is kept there.

libvirt has no call that removes a pin: it can only pin to every CPU. So the definition is made to say nothing of pins,
and of a running VM the threads that are held somewhere are let go.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from kvmctl.host.actual import look
from kvmctl.host.configurations import Configurations
from kvmctl.host.connection import translated
from kvmctl.host.domains import summary
from kvmctl.host.limiting import schedule
from kvmctl.host.moving import refit_after
from kvmctl.host.pinning import apply_live, set_placement
from kvmctl.host.redefining import redefine
from kvmctl.host.undoing import Undo
from kvmctl.plan.placement.ground import held_by
from kvmctl.plan.placement.pins import Pins, erase, placement_of, put_back, write_pins
from kvmctl.plan.placement.sides import Name, names_of, side_of
from kvmctl.plan.placement.tuning import OTHER, Schedulers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.surroundings import Surroundings
    from kvmctl.parallel import Work
    from kvmctl.spec.kinds import CpuSet


def clear(
    host: Host,
    name: str,
    work: Work,
    around: Surroundings,
    *,
    now: bool = False,
    next_boot: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Take pins, nodes, schedulers and placement away; a VM of the pool goes back to it. The answer of `pin clear`."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    topology, tenants = around.of(host)
    kept = {name: value for name, value in (placement_of(found.documents[0]) or {}).items() if name == "pooled"} or None
    others = [tenant for tenant in tenants if tenant.vm != found.name]
    home = topology.online - held_by(topology, others) if kept else topology.online
    names = names_of(found.documents[0])
    pool = _everywhere(names, home) if kept else Pins()

    def empty(document: Element) -> None:
        erase(document)
        write_pins(document, pool)

    def changes(document: Element) -> bool:
        after = deepcopy(document)
        empty(after)
        said = [(side_of(each), len(each.findall("numatune/*"))) for each in (document, after)]
        return said[0] != said[1]

    pins, schedulers = _let_go(host, found, home, frozenset(topology.nodes))
    changed = any(
        (
            *(placement_of(document) != kept for document in found.documents),
            *(changes(document) for document in (found.definition,) if document is not None),
            pins != Pins(),
            bool(schedulers),
        )
    )
    postponed: list[str] = []
    if not dry_run:
        with Undo(found.name) as undo, translated(vm=found.name, doing="take its pins away", host=host.name):
            if found.running is not None:
                config = found.definition is not None
                postponed += apply_live(host, found.domain, pins, undo=undo, work=work, config=config)
                postponed += schedule(host, found.domain, schedulers, config=config, undo=undo)
            if found.definition is not None:
                work.check()
                before = found.definition
                undo.add(lambda: redefine(found.domain, lambda document: put_back(document, before)))
                redefine(found.domain, empty)
            set_placement(found.domain, kept, **found.both, undo=undo)
    return {
        **summary(host, found.domain, found.state),
        "changed": changed,
        "now": found.running is not None,
        "next_boot": found.definition is not None,
        "pooled": bool(kept),
        "postponed": postponed,
        "notes": () if dry_run else refit_after(host, found.documents, but=found.domain.UUIDString()),
        "dry_run": dry_run,
    }


def _let_go(host: Host, found: Configurations, home: CpuSet, nodes: CpuSet) -> tuple[Pins, Schedulers]:
    """What is to be changed of the running VM: threads and memory that are held elsewhere, schedulers."""
    if found.running is None:
        return Pins(), Schedulers()
    side, names = side_of(found.running), names_of(found.running)
    kernel = look(host, found.domain, any(kind == "iothread" for kind, _ in names))
    away = {name for name in names if (side.pin(name) or home) != home}
    away |= {name for name, actual in kernel.threads.items() if actual.cpus != home}
    policies = {name: side.policy(name) for name in names}
    policies |= {name: actual.policy for name, actual in kernel.threads.items() if actual.policy}
    other = {name for name, policy in policies.items() if policy != OTHER}
    held = side.pins.nodes is not None and side.pins.nodes != nodes
    return (
        _everywhere([name for name in names if name in away], home, nodes=nodes if held else None),
        Schedulers(
            vcpus={number: OTHER for kind, number in sorted(other) if kind == "vcpu"},
            emulator=OTHER if any(kind == "emulator" for kind, _ in other) else None,
            iothreads={number: OTHER for kind, number in sorted(other) if kind == "iothread"},
        ),
    )


def _everywhere(names: Iterable[Name], cpus: CpuSet, *, nodes: CpuSet | None = None) -> Pins:
    """These threads on these CPUs."""
    names = list(names)
    return Pins(
        vcpus={number: cpus for kind, number in names if kind == "vcpu"} or None,
        emulator=cpus if any(kind == "emulator" for kind, _ in names) else None,
        iothreads={number: cpus for kind, number in names if kind == "iothread"} or None,
        nodes=nodes,
    )
