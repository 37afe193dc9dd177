"""Settles which devices of a host a spec means, and has the guard look at those that a VM is to get.

Asks the host only for VMs that have devices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.errors import Conflict
from kvmctl.host.pci.holders import Held, held, names
from kvmctl.host.pci.inventory import inventory
from kvmctl.host.pci.mdevs import provide
from kvmctl.host.reading import size
from kvmctl.plan.pci.choose import Chosen, Taste, choose
from kvmctl.plan.pci.guard import check, refusal
from kvmctl.plan.pci.identity import moved
from kvmctl.spec.metadata import noted_devices

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.facts import Inventory
    from kvmctl.spec.model.vm import Vm

PASSING = ("device-in-use", "vfs-in-use", "group-in-use", "group-not-whole", "pf-down")
"""What may be otherwise when the VM starts."""


def settle(host: Host, vm: Vm, *, forced: Collection[str], start: bool) -> Chosen:
    """The VM with an address for each device. Raises for what no start could mend; with `start`, for all."""
    known = inventory(host)
    numa = vm.numa
    nodes = numa.nodes if numa is not None and isinstance(numa.nodes, frozenset) else frozenset()
    chosen = choose(vm, known, Taste(uuid=vm.uuid or "", nodes=nodes, aliases=host.target.devices))
    memory = vm.memory.size if vm.memory and vm.memory.size else 0
    found = check(known, chosen.addresses, uuid=vm.uuid or "", forced=forced, memory=memory)
    error = refusal([each for each in found if start or each.code not in PASSING], vm=vm.name or "")
    if error is not None:
        raise error
    notes = [each.what for each in found if each.verdict in ("blocker", "warning")]
    sentences = tuple(f"{vm.name}: {sentence}" for sentence in (*chosen.sentences, *notes))
    return replace(chosen, sentences=sentences)


def check_unshared(host: Host, uuid: str, picked: Collection[str]) -> None:
    """Raise Conflict if another VM was given one of these meanwhile, of which there may be others."""
    now = held(host) if picked else Held()
    for address in sorted(picked):
        having = (*now.devices.get(address, ()), *now.mdevs.get(address, ()))
        other = next((holder.vm for holder in having if holder.uuid != uuid), None)
        if other is not None:
            raise Conflict("devices-taken", f"{other} was given {address} at the same time", hint="create it again")


def look(host: Host, definition: Element, *, forced: Collection[str] = ()) -> tuple[Finding, ...]:
    """Before a start: raise for all that would make it fail or do harm; what else there is to say. Nothing for a VM
    without devices, and then nobody is asked. Mdevs that are only defined are started."""
    addresses = names(definition)
    if not addresses:
        return ()
    known = inventory(host)
    others = moved(known, noted_devices(definition), addresses, forced=forced)
    found = judged(known, definition, addresses, forced=forced, besides=others)
    for uuid in addresses:
        if uuid in known.mdevs and not known.mdevs[uuid].active:
            provide(host, known.mdevs[uuid], lambda step: None)
    return found


def judged(
    known: Inventory,
    definition: Element,
    addresses: list[str],
    *,
    forced: Collection[str] = (),
    besides: Iterable[Finding] = (),
    now: bool = True,
) -> tuple[Finding, ...]:
    """What the guard says of these devices for this VM, after what is known `besides`; raises for all blockers at once.

    Unless it is to have them now, what may be otherwise when it starts is no blocker.
    """
    guarded = check(
        known,
        addresses,
        uuid=definition.findtext("uuid") or "",
        forced=forced,
        memory=size(definition.find("memory")) or 0,
        roms=[],
    )
    found = (*besides, *guarded)
    stops = found if now else [each for each in found if each.code not in PASSING]
    error = refusal(stops, vm=definition.findtext("name") or "")
    if error is not None:
        raise error
    return found
