"""Settles which SCSI devices of a host a spec means, and has the guard look at those that a VM is to get.

Asks the host only for VMs that have some.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmctl.host.redefining import redefine
from kvmctl.host.scsi.inventory import inventory
from kvmctl.plan.pci.guard import refusal
from kvmctl.plan.scsi.choose import choose
from kvmctl.plan.scsi.find import addresses_of
from kvmctl.plan.scsi.guard import check
from kvmctl.plan.scsi.identity import identities, lost, places
from kvmctl.spec.metadata import keep_devices
from kvmctl.spec.model import scsi

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.scsi.facts import Inventory
    from kvmctl.spec.model.scsi import Identity
    from kvmctl.spec.model.vm import Vm

PASSING = ("device-in-use",)
"""What may be otherwise when the VM starts."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The VM with addresses, which devices those are, and what there is to say."""

    vm: Vm
    sentences: tuple[str, ...]
    devices: tuple[Identity, ...]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found before a start: where each device is now, by the address that the definition has, and what it
    is.
    """

    places: Mapping[str, str]
    devices: tuple[Identity, ...]

    @property
    def moved(self) -> bool:
        return any(was != now for was, now in self.places.items())


def settle(host: Host, vm: Vm, raw: Element | None, *, forced: Collection[str], start: bool) -> Settled:
    """Raises for what no start could mend; with `start`, for all. `raw` is what `raw_xml` has, and is looked at too."""
    known = inventory(host)
    chosen = choose(known, vm.scsi, start=start)
    entries = [*chosen.entries, *(entry for _, entry in (() if raw is None else scsi.given(raw)))]
    found = _judged(known, entries, uuid=vm.uuid or "", name=vm.name or "", forced=forced, now=start)
    notes = [each.what for each in found if each.verdict in ("blocker", "warning")]
    return Settled(
        vm=replace(vm, scsi=chosen.entries),
        sentences=tuple(f"{vm.name}: {said}" for said in (*chosen.sentences, *notes)),
        devices=identities(known, [entry.address or "" for entry in chosen.entries]),
    )


def look(host: Host, definition: Element, *, forced: Collection[str] = ()) -> Look:
    """Before a start: find each device again, and raise for all that would make it fail or do harm."""
    known = inventory(host)
    kept = scsi.noted(definition)
    now = places(known, kept.values(), forced=addresses_of(known, forced))
    gone = tuple(lost(known, kept.values(), now))
    there = [entry for _, entry in scsi.given(definition) if entry.address in now]
    entries = [replace(entry, address=now[entry.address or ""]) for entry in there]
    judged(known, definition, entries, forced=forced, besides=gone, now=True)
    return Look(places=now, devices=identities(known, now.values()))


def move(domain: libvirt.virDomain, look: Look) -> None:
    """Have the definition say where its devices are now."""
    redefine(domain, lambda document: _move(document, look))


def judged(
    known: Inventory,
    definition: Element,
    entries: Sequence[scsi.Scsi],
    *,
    forced: Collection[str],
    now: bool,
    besides: Sequence[Finding] = (),
) -> tuple[Finding, ...]:
    """What the guard says of these devices for this VM, after what is known `besides`; raises for all blockers at once.

    Unless it is to have them now, what may be otherwise when it starts is no blocker.
    """
    uuid, name = definition.findtext("uuid") or "", definition.findtext("name") or ""
    return _judged(known, entries, uuid=uuid, name=name, forced=forced, now=now, besides=besides)


def _judged(
    known: Inventory,
    entries: Sequence[scsi.Scsi],
    *,
    uuid: str,
    name: str,
    forced: Collection[str],
    now: bool,
    besides: Sequence[Finding] = (),
) -> tuple[Finding, ...]:
    addresses = [entry.address or "" for entry in entries]
    shared = {entry.address or "" for entry in entries if entry.shareable}
    found = (*besides, *check(known, addresses, shared=shared, uuid=uuid, forced=forced))
    error = refusal([each for each in found if now or each.code not in PASSING], vm=name)
    if error is not None:
        raise error
    return found


def _move(document: Element, look: Look) -> None:
    for element, entry in list(scsi.given(document)):
        scsi.Address().put(element, look.places.get(entry.address or "", entry.address))
    keep_devices(document, look.devices, gone=look.places.keys())
