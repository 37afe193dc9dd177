"""Where in the guest a device of the host stands, where its entry has a wish: `together`, `guest_node`. Pure.

Decided last, on the whole document with its raw_xml, since it hangs on what else is there. What stands as wished stays
as it is, so that the document of an exported VM comes out as it went in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.etree.ElementTree import SubElement

from kvmctl.errors import Refused
from kvmctl.plan.pci import buses
from kvmctl.spec.lenses import require
from kvmctl.spec.model.pci import Address

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.plan.pci.buses import Place
    from kvmctl.spec.model.pci import Pci
    from kvmctl.spec.model.vm import Vm

ANY = range(32)
FREE = range(31, 2, -1)
"""Slots of a conventional bus, from the top: at the bottom is what the machine has, and what libvirt adds."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What has a slot of the guest to itself: one device, or the functions of one that stay together."""

    devices: tuple[tuple[str, Element], ...]
    node: int | None

    @property
    def name(self) -> str:
        return ", ".join(address for address, _ in self.devices)

    def stands(self, domain: Element) -> bool:
        """Whether the document has it as it is wished already."""
        places = [buses.place_of(device) for _, device in self.devices]
        on_node = self.node is None or all(place and buses.node_of(domain, place.bus) == self.node for place in places)
        return on_node and (len(places) == 1 or _is_slot(places))


def lay_out(domain: Element, vm: Vm) -> None:
    """Give each device that has a wish its address in the guest, and the controllers for it; in place.

    Raises Refused where the guest has no such place.
    """
    units = [unit for unit in _units(domain, vm) if not unit.stands(domain)]
    if not units:
        return
    kind = buses.pci(domain)
    try:
        for unit in units:
            _check(domain, unit, kind)
        for node in sorted({unit.node for unit in units if unit.node is not None}):
            _on_node(domain, [unit for unit in units if unit.node == node], node)
        for unit in units:
            if unit.node is None and kind == "express":
                _place(unit, bus=_port(domain), slot=0)
            elif unit.node is None:
                _place(unit, bus=0, slot=_slot(domain, 0, FREE))
    except Refused as problem:
        problem.vm = vm.name or ""
        raise


def recognised(domain: Element, vm: Vm) -> Vm:
    """The VM of a document with the wishes that it fulfils."""
    known = {entry.address for entry in vm.pci}
    places = {address: buses.place_of(device) for address, device in _elements(domain).items() if address in known}
    together = _together(places)

    def told(entry: Pci) -> Pci:
        place = places.get(entry.address or "")
        node = buses.node_of(domain, place.bus) if place else None
        return replace(entry, together=together.get(entry.address or ""), guest_node=node)

    return replace(vm, pci=tuple(map(told, vm.pci)))


def _together(places: Mapping[str, Place | None]) -> dict[str, bool]:
    """Which devices are functions of one slot, here as on the host; False: others of its slot are, it is not."""
    slots: dict[str, dict[object, list[str]]] = {}
    for address, place in places.items():
        slot = place and (place.bus, place.slot)
        slots.setdefault(_slot_of(address), {}).setdefault(slot, []).append(address)
    found = {}
    for groups in slots.values():
        whole = [group for group in groups.values() if _is_slot([places[each] for each in group])]
        if len(whole) == 1:
            found.update({address: address in whole[0] for group in groups.values() for address in group})
    return found


def _is_slot(given: Sequence[Place | None]) -> bool:
    """Whether these are several functions of one slot, of which the guest finds all."""
    places = [place for place in given if place]
    first = next((place for place in places if place.function == 0), None)
    return (
        first is not None
        and first.multifunction
        and len({(place.bus, place.slot) for place in places}) == 1
        and len({place.function for place in places}) == len(given) > 1
    )


def _slot_of(address: str) -> str:
    return address.rpartition(".")[0]


def _elements(domain: Element) -> dict[str, Element]:
    found = ((Address().get(device), device) for device in domain.iterfind("devices/hostdev[@type='pci']"))
    return {address: device for address, device in found if address}


def _units(domain: Element, vm: Vm) -> Iterator[Unit]:
    """Those with a wish. All functions of a slot of the host stay together if one of them says so."""
    found = _elements(domain)
    slots = {_slot_of(entry.address) for entry in vm.pci if entry.address and entry.together}
    members: dict[str, list[Pci]] = {}
    for entry in vm.pci:
        if entry.address in found:
            slot = _slot_of(entry.address)
            kept = slot in slots and entry.together is not False
            members.setdefault(slot if kept else entry.address, []).append(entry)
    for entries in members.values():
        nodes = {entry.guest_node for entry in entries if isinstance(entry.guest_node, int)}
        if len(nodes) > 1:
            first, other = sorted(nodes)[:2]
            raise Refused(
                "impossible",
                f"{_slot_of(entries[0].address or '')} cannot be together on the guest's nodes {first} and {other}",
                hint="write the same guest_node for all its functions",
                vm=vm.name or "",
            )
        if len(entries) > 1 or nodes:
            devices = tuple((entry.address or "", found[entry.address or ""]) for entry in entries)
            yield Unit(devices=devices, node=next(iter(nodes), None))


def _check(domain: Element, unit: Unit, kind: str | None) -> None:
    """Raise Refused for what no place could be found for."""
    wish = "together" if unit.node is None else "guest_node"
    if kind is None or (unit.node is not None and kind != "express"):
        lacking = "PCI slots that are known" if unit.node is None else "PCI Express"
        machine = domain.find("os/type")
        said = "" if machine is None else machine.get("machine", "")
        raise Refused(
            "not-supported",
            f"{wish} is asked for {unit.name}, and the machine{f' {said}' if said else ''} has no {lacking}",
            hint=f"write machine: q35, or virt for ARM, or leave out {wish}",
        )
    known = buses.cells(domain)
    if unit.node is not None and unit.node not in known:
        highest = f"; the highest is {max(known)}" if known else ""
        raise Refused(
            "impossible",
            f"{unit.name} is to be on node {unit.node} of the guest, which has no such node{highest}",
            hint="write guest_node: auto, or the nodes of the guest as numa.cells",
        )
    for address, device in unit.devices:
        if buses.is_placed(device):
            raise Refused(
                "not-supported",
                f"{wish} is asked for {address}, and raw_xml gives it another address in the guest",
                hint=f"take its <address> out of raw_xml, or leave out {wish}",
            )


def _on_node(domain: Element, units: Sequence[Unit], node: int) -> None:
    """A root that belongs to the node, and on it a port for each."""
    first = buses.free_number(domain, len(units))
    if first is None:
        raise _full("bus numbers")
    root = _controller(domain, buses.EXPANDER)
    target = SubElement(root, "target", busNr=str(first))
    SubElement(target, "node").text = str(node)
    index = int(root.get("index", ""))
    for unit in units:
        _place(unit, bus=_port(domain, index), slot=0)


def _port(domain: Element, bus: int | None = None) -> int:
    """A new port, on a bus or where libvirt puts it; its index."""
    slot = None if bus is None else _slot(domain, bus, ANY)
    port = _controller(domain, buses.PORT)
    if bus is not None and slot is not None:
        _address(port, bus=bus, slot=slot)
    return int(port.get("index", ""))


def _controller(domain: Element, model: str) -> Element:
    index = buses.free_index(domain)
    return SubElement(require(domain, ("devices",)), "controller", type="pci", index=str(index), model=model)


def _slot(domain: Element, bus: int, slots: Sequence[int]) -> int:
    slot = buses.free_slot(domain, bus, slots)
    if slot is None:
        raise _full("slots")
    return slot


def _full(what: str) -> Refused:
    return Refused(
        "impossible", f"the guest has no PCI {what} left for all that is wished", hint="leave out some of the wishes"
    )


def _place(unit: Unit, *, bus: int, slot: int) -> None:
    """Each function keeps its number; without a function 0 a guest would find none, so the lowest becomes it."""
    numbers = [int(address[-1]) for address, _ in unit.devices]
    for number, (_, device) in zip(numbers, unit.devices, strict=True):
        single = len(numbers) == 1 or (0 not in numbers and number == min(numbers))
        function = 0 if single else number
        _address(device, bus=bus, slot=slot, function=function, multifunction=function == 0 and len(numbers) > 1)


def _address(element: Element, *, bus: int, slot: int, function: int = 0, multifunction: bool = False) -> None:
    node = require(element, ("address",))
    node.attrib.update(
        type="pci", domain="0x0000", bus=f"0x{bus:02x}", slot=f"0x{slot:02x}", function=f"0x{function:x}"
    )
    if multifunction:
        node.set("multifunction", "on")
