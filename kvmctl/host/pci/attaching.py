"""Gives PCI devices of the host to a VM that exists, running or not, and takes them away again: all, or none.

The guard looks first; what then is done is in `host/hostdevs.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from kvmctl.errors import NotFound, Refused
from kvmctl.host.configurations import Configurations
from kvmctl.host.hostdevs import answer, give, take
from kvmctl.host.pci.assigning import judged
from kvmctl.host.pci.holders import names
from kvmctl.host.pci.inventory import inventory
from kvmctl.host.pci.mdevs import provide
from kvmctl.host.pci.trusting import entrust, needed
from kvmctl.host.redefining import redefine
from kvmctl.host.tenants import tenant_of
from kvmctl.host.undoing import Undo
from kvmctl.plan.pci.choose import Taste, choose
from kvmctl.plan.pci.find import find
from kvmctl.plan.pci.identity import identities
from kvmctl.plan.pci.mediated import own
from kvmctl.spec import metadata
from kvmctl.spec.declare import write
from kvmctl.spec.model.mdev import is_uuid
from kvmctl.spec.model.network import Network
from kvmctl.spec.model.pci import Pci, name_of, selector
from kvmctl.spec.model.trust import note, noted
from kvmctl.spec.model.vm import Vm

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.pci.facts import Inventory


def attach(
    host: Host,
    name: str,
    words: Sequence[str],
    work: Work,
    *,
    now: bool = False,
    next_boot: bool = False,
    forced: Collection[str] = (),
    mac: str | None = None,
    vlan: int | None = None,
    said: Mapping[str, bool] | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Give devices to a VM. The answer of `pci attach`; raises with everything as it was.

    What is `said` of trust and spoof check is set of virtual functions, and kept with the VM for its next boots.
    """
    found = Configurations(host, name, now=now, next_boot=next_boot)
    known = inventory(host)
    as_card = bool(mac or vlan or said)
    document, uuid = found.documents[0], found.domain.UUIDString()
    taste = Taste(uuid=uuid, nodes=tenant_of(document, running=True).memory_nodes or frozenset())
    taste = replace(taste, aliases=host.target.devices)
    chosen = choose(Vm(name=found.name, pci=tuple(Pci(device=word) for word in words)), known, taste)
    wanted = [entry.address or entry.mdev or "" for entry in chosen.vm.pci]
    there = [set(names(each)) for each in found.documents]
    new = [address for address in wanted if not all(address in each for each in there)]
    if as_card and any(entry.mdev for entry in chosen.vm.pci):
        raise Refused("device-refused", "an mdev is no network card", hint="give it alone", vm=found.name)
    notes = [*chosen.sentences]
    if new:
        there_now = (address for address in new if address in chosen.addresses)  # and not an mdev that is to be made
        everything = [*there_now, *(address for address in set().union(*there) if address in known.devices)]
        told = judged(known, document, list(dict.fromkeys(everything)), forced=forced, now=found.running is not None)
        notes += [each.what for each in told if each.subject in ("", *new)]
    functions = {address: said or {} for address in new} if as_card else {}
    changes = needed(host, functions, vm=found.name) if found.running is not None else []
    if not dry_run:
        with Undo(found.name) as undo:
            for mdev in chosen.mdevs:
                work.check()
                provide(host, mdev, undo.add)
            entrust(changes, undo.add)
            for address in new:
                work.check()
                made = _element(address, mac=mac, vlan=vlan, card=as_card)
                give(found, made, address, partial(device_of, address=address), undo)
            if new and found.definition is not None:
                # What is noted of one that the definition has had already stays.
                fresh = {address: said or {} for address in new if address not in names(found.definition)}
                redefine(found.domain, lambda document: _note(document, known, new, fresh))
    return answer(host, found, wanted, changed=bool(new), notes=notes, dry_run=dry_run)


def detach(
    host: Host,
    name: str,
    words: Sequence[str],
    work: Work,
    *,
    now: bool = False,
    next_boot: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Take devices away from a VM, and wait until the guest has let go of them. The answer of `pci detach`."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    addresses = _own(found, words, inventory(host))
    if not dry_run:
        for address in addresses:
            work.check()
            take(found, address, partial(device_of, address=address), work)
        if found.definition is not None and not noted(found.definition).keys().isdisjoint(addresses):
            redefine(found.domain, lambda document: note(document, {address: {} for address in addresses}))
    return answer(host, found, addresses, changed=True, notes=[], dry_run=dry_run)


def _note(
    document: Element, known: Inventory, addresses: Sequence[str], functions: Mapping[str, Mapping[str, bool]]
) -> None:
    """Keep with the VM what these devices are, so that a later start sees when others are in their place, and what is
    said of functions."""
    note(document, functions)
    metadata.keep_devices(document, identities(known, addresses))


def _element(address: str, *, mac: str | None, vlan: int | None, card: bool) -> Element:
    whole = Pci(mdev=address) if is_uuid(address) else Pci(address=address, managed=True)
    made: Any = Network(hostdev=address, mac=mac, vlan=vlan) if card else whole
    element = Element("interface" if card else "hostdev")
    write(made, element)
    return element


def _own(found: Configurations, words: Sequence[str], known: Inventory) -> list[str]:
    """The addresses that are meant, of those that the VM has."""
    there = {name for document in found.documents for name in names(document)}
    addresses = []
    for word in words:
        try:
            asked = selector(word)
            meant = own(known, asked.mdev, there) if asked.mdev else asked.address or find(known, word)
        except (ValueError, NotFound, Refused):
            meant = ""
        if meant not in there:
            has = f"it has {', '.join(sorted(there))}" if there else "it has none"
            raise NotFound("device-not-found", f"has no device {word}; {has}", vm=found.name)
        addresses.append(meant)
    return list(dict.fromkeys(addresses))


def device_of(document: Element, address: str) -> Element | None:
    """The device of a domain that is this one of the host."""
    devices = (device for kind in ("hostdev", "interface", "disk") for device in document.iterfind(f"devices/{kind}"))
    return next((device for device in devices if name_of(device) == address), None)
