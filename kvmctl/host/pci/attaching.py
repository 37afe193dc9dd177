"""Gives devices of the host to a VM that exists, running or not, and takes them away again: all of them, or none.

The guard looks first. What a guest has to release is waited for; libvirt gives each device its own driver back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement

from kvmctl.errors import KvmctlError, NotFound, Refused, TimedOut
from kvmctl.host.configurations import Configurations
from kvmctl.host.connection import translated
from kvmctl.host.domains import summary
from kvmctl.host.library import libvirt
from kvmctl.host.pci.assigning import judged
from kvmctl.host.pci.holders import names
from kvmctl.host.pci.inventory import inventory
from kvmctl.host.pci.mdevs import provide
from kvmctl.host.redefining import READ, redefine
from kvmctl.host.tenants import tenant_of
from kvmctl.host.undoing import Undo
from kvmctl.plan.pci.choose import Taste, choose
from kvmctl.plan.pci.find import find
from kvmctl.plan.pci.identity import identities
from kvmctl.plan.pci.mediated import own
from kvmctl.spec import metadata
from kvmctl.spec.declare import write
from kvmctl.spec.lenses import require
from kvmctl.spec.model.mdev import is_uuid
from kvmctl.spec.model.network import Network
from kvmctl.spec.model.pci import Pci, name_of, selector
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.xmltext import parse, render

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.pci.facts import Inventory

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
GLANCE = 0.25
UNDO_SECONDS = 30.0
"""How long a guest may take to release what it was just given, when that is undone."""
NO_PORT = "No more available PCI slots"


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
    dry_run: bool = False,
) -> dict[str, Any]:
    """Give devices to a VM. The answer of `pci attach`; raises with everything as it was."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    known = inventory(host)
    as_card = bool(mac or vlan)
    document, uuid = found.documents[0], found.domain.UUIDString()
    taste = Taste(uuid=uuid, nodes=tenant_of(document, running=True).memory_nodes or frozenset())
    taste = replace(taste, aliases=host.target.devices)
    chosen = choose(Vm(name=found.name, pci=tuple(Pci(device=word) for word in words)), known, taste)
    wanted = [entry.address or entry.mdev or "" for entry in chosen.vm.pci]
    there = [set(names(each)) for each in found.documents]
    new = [address for address in wanted if not all(address in each for each in there)]
    if as_card and any(entry.mdev for entry in chosen.vm.pci):
        raise Refused("device-refused", "an mdev has no MAC address and no VLAN", hint="give it alone", vm=found.name)
    notes = [*chosen.sentences]
    if new:
        there_now = (address for address in new if address in chosen.addresses)  # and not an mdev that is to be made
        everything = [*there_now, *(address for address in set().union(*there) if address in known.devices)]
        said = judged(known, document, list(dict.fromkeys(everything)), forced=forced, now=found.running is not None)
        notes += [each.what for each in said if each.subject in ("", *new)]
    if not dry_run:
        with Undo(found.name) as undo:
            for mdev in chosen.mdevs:
                work.check()
                provide(host, mdev, undo.add)
            for address in new:
                work.check()
                _attach_one(found, _element(address, mac=mac, vlan=vlan, card=as_card), address, undo)
            if new and found.definition is not None:
                redefine(found.domain, lambda document: _note(document, known, new))
    return _answer(host, found, wanted, changed=bool(new), notes=notes, dry_run=dry_run)


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
            if found.running is not None and device_of(found.running, address) is not None:
                release(found.domain, address, work)
            if found.definition is not None and device_of(found.definition, address) is not None:
                with translated(vm=found.name, doing=f"take {address} from its definition"):
                    found.domain.detachDeviceFlags(_text(device_of(found.definition, address)), CONFIG)
    return _answer(host, found, addresses, changed=True, notes=[], dry_run=dry_run)


def _answer(
    host: Host, found: Configurations, addresses: Sequence[str], *, changed: bool, notes: list[str], dry_run: bool
) -> dict[str, Any]:
    return {
        **summary(host, found.domain, found.state),
        "changed": changed,
        "now": found.running is not None,
        "next_boot": found.definition is not None,
        "devices": list(addresses),
        "notes": notes,
        "dry_run": dry_run,
    }


def _note(document: Element, known: Inventory, addresses: Sequence[str]) -> None:
    """Keep with the VM what these devices are, so that a later start sees when others are in their place."""
    parent = require(document, ("metadata",))
    kept = parent.find(metadata.VM)
    metadata.note_devices(SubElement(parent, metadata.VM) if kept is None else kept, identities(known, addresses))


# -- giving -----------------------------------------------------------------------------------------------------------


def _element(address: str, *, mac: str | None, vlan: int | None, card: bool) -> Element:
    whole = Pci(mdev=address) if is_uuid(address) else Pci(address=address, managed=True)
    made: Any = Network(hostdev=address, mac=mac, vlan=vlan) if card else whole
    element = Element("interface" if card else "hostdev")
    write(made, element)
    return element


def _attach_one(found: Configurations, element: Element, address: str, undo: Undo) -> None:
    text = render(element)
    for flag, document in ((LIVE, found.running), (CONFIG, found.definition)):
        if document is None or device_of(document, address) is not None:
            continue
        with translated(vm=found.name, doing=f"give it {address}"):
            try:
                found.domain.attachDeviceFlags(text, flag)
            except libvirt.libvirtError as problem:
                if NO_PORT in (problem.get_error_message() or ""):
                    raise _no_port(found.name) from problem
                raise
        undo.add(_taking_back(found.domain, address, flag))


def _taking_back(domain: libvirt.virDomain, address: str, flag: int) -> Callable[[], None]:
    def take_back() -> None:
        document = _read(domain, flag)
        device = device_of(document, address)
        if device is None:
            return
        domain.detachDeviceFlags(_text(device), flag)
        ends = time.monotonic() + UNDO_SECONDS
        while flag == LIVE and device_of(_read(domain, flag), address) is not None:
            if time.monotonic() > ends:
                raise TimedOut("device-held", f"the guest holds on to {address}")
            time.sleep(GLANCE)

    return take_back


def _no_port(vm: str) -> Refused:
    return Refused(
        "no-free-port",
        "has no free port for a further device while it runs",
        hint="--next-boot gives it the device at its next boot; <controller type='pci' model='pcie-root-port'/> in "
        "raw_xml: makes ports to spare",
        vm=vm,
    )


# -- taking -----------------------------------------------------------------------------------------------------------


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


def release(domain: libvirt.virDomain, address: str, work: Work) -> None:
    """Ask the guest for a device, and wait until it has let go of it."""
    name = domain.name()
    device = device_of(_read(domain, LIVE), address)
    with translated(vm=name, doing=f"take {address} from it"):
        if device is not None:
            domain.detachDeviceFlags(_text(device), LIVE)
        while domain.isActive() and device_of(_read(domain, LIVE), address) is not None:
            try:
                work.check()
            except KvmctlError as problem:
                raise TimedOut(
                    "device-held",
                    f"the guest has not let go of {address}: {problem.message}",
                    hint="unload its driver in the guest and try again, or stop the VM; until then it has the device",
                    vm=name,
                ) from None
            time.sleep(GLANCE)


def _read(domain: libvirt.virDomain, flag: int) -> Element:
    return parse(domain.XMLDesc(READ if flag == CONFIG else 0))


def device_of(document: Element | None, address: str) -> Element | None:
    """The device of a domain that is this one of the host."""
    if document is None:
        return None
    devices = (device for kind in ("hostdev", "interface", "disk") for device in document.iterfind(f"devices/{kind}"))
    return next((device for device in devices if name_of(device) == address), None)


def _text(device: Element | None) -> str:
    assert device is not None
    return render(device)
