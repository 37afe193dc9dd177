"""The PCI buses of a guest, as its document has them: what stands where, and what is free. Pure.

A bus is known by the index of the controller that it belongs to. What the document leaves out libvirt adds by itself,
and never where the document says what is there: so what is free here is free in the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.spec.model.board import Pci, pci_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

EXPANDER = "pcie-expander-bus"
PORT = "pcie-root-port"
ROOTS: dict[str, Pci] = {"pcie-root": "express", "pci-root": "conventional"}
NUMBERS = 256
"""How many buses a guest can have, by the numbers that it gives them."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The address of a device in the guest."""

    bus: int
    slot: int
    function: int
    multifunction: bool = False


def number(text: str | None) -> int | None:
    try:
        return int(text or "", 0)
    except ValueError:
        return None


def is_placed(device: Element) -> bool:
    """Whether the document says anything of where it is; `<address type='pci'/>` leaves that to libvirt."""
    node = device.find("address")
    return node is not None and node.attrib != {"type": "pci"}


def place_of(device: Element) -> Place | None:
    """Where a device is; None where that is left to libvirt, or not on a PCI bus of the first domain."""
    node = device.find("address[@type='pci']")
    if node is None or number(node.get("domain", "0")) != 0:
        return None
    bus, slot, function = (number(node.get(name, "0")) for name in ("bus", "slot", "function"))
    if node.get("slot") is None or bus is None or slot is None or function is None:
        return None
    return Place(bus=bus, slot=slot, function=function, multifunction=node.get("multifunction") == "on")


def controllers(domain: Element) -> dict[int, Element]:
    """The PCI controllers that the document numbers; libvirt gives others a number that is left."""
    found = {number(node.get("index")): node for node in domain.iterfind("devices/controller[@type='pci']")}
    return {index: node for index, node in found.items() if index is not None}


def pci(domain: Element) -> Pci | None:
    """Which PCI the guest has: by its root, where the document has one, else by its machine type."""
    root = controllers(domain).get(0)
    kind = domain.find("os/type")
    if root is not None and root.get("model") in ROOTS:
        return ROOTS[root.get("model", "")]
    return None if kind is None else pci_of(kind.get("machine"), kind.get("arch"))


def cells(domain: Element) -> frozenset[int]:
    """The NUMA nodes that the guest sees."""
    found = (number(cell.get("id", str(place))) for place, cell in enumerate(domain.iterfind("cpu/numa/cell")))
    return frozenset(cell for cell in found if cell is not None)


def way_up(domain: Element, bus: int) -> list[int]:
    """The bus, that which its controller is on, and so on to the root. Loops end."""
    known, way = controllers(domain), [bus]
    while way[-1] in known:
        above = place_of(known[way[-1]])
        if above is None or above.bus in way:
            break
        way.append(above.bus)
    return way


def node_of(domain: Element, bus: int) -> int | None:
    """The node of the guest that a bus belongs to; None if to none."""
    known = controllers(domain)
    for index in way_up(domain, bus):
        if index in known and known[index].get("model") == EXPANDER:
            return number(known[index].findtext("target/node"))
    return None


def free_index(domain: Element) -> int:
    """The lowest that no controller has, and no address speaks of. Bus 0 is the root."""
    named = {number(node.get("bus", "0")) for node in domain.iterfind("devices/*/address[@type='pci']")}
    taken = {0, *controllers(domain), *named}
    return next(index for index in range(len(taken) + 1) if index not in taken)


def free_slot(domain: Element, bus: int, slots: Iterable[int]) -> int | None:
    """The first of these slots that no device of the document has."""
    places = [place for device in domain.iterfind("devices/*") if (place := place_of(device))]
    taken = {place.slot for place in places if place.bus == bus}
    return next((slot for slot in slots if slot not in taken), None)


def free_number(domain: Element, below: int) -> int | None:
    """The highest bus number for a further root that has room for so many buses below it.

    The guest numbers what is below a root upwards from its number; what is below the first root, from 0.
    """
    known = controllers(domain)
    roots = {
        index: number(target.get("busNr"))
        for index, node in known.items()
        if (target := node.find("target[@busNr]")) is not None
    }
    taken: set[int] = set(range(len(known)))
    for index, first in roots.items():
        if first is not None:
            under = sum(index in way_up(domain, other) for other in known)
            taken.update(range(first, first + max(under, 1)))
    return next(
        (first for first in range(NUMBERS - 1 - below, 0, -1) if taken.isdisjoint(range(first, first + below + 1))),
        None,
    )
