"""Network devices of the source that a VM has for itself, and those of the target that are like them. Pure.

Its like has the same vendor and product, and is a virtual function if that is one. What the guest knows of a device,
its addresses for one, goes with the VM, so that any like will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.pci.verdict import verdict
from kvmctl.spec.model.pci import Address
from kvmctl.spec.model.trust import rename

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.plan.pci.facts import Device, Inventory

NETWORK = 0x02
PLACES = ("devices/hostdev", "devices/interface")


def likes(documents: Sequence[Element], source: Inventory, target: Inventory) -> dict[str, str]:
    """Address here -> address there, which is empty where the target has no free one."""
    found: dict[str, str] = {}
    for address in sorted({address for document in documents for _, address in _cards(document, source)}):
        device = source.devices.get(address)
        free = [other for other in target.devices if other not in found.values() and _free(target, other, device)]
        free.sort(key=lambda other: (bool(target.holders.get(other)), other != address, other))
        found[address] = free[0] if free else ""
    return found


def swap(document: Element, found: Mapping[str, str]) -> None:
    """Have a definition name the devices of the target."""
    lens = Address()
    for place in PLACES:
        for element in document.iterfind(place):
            there = found.get(lens.get(element) or "")
            if there:
                lens.put(element, there)
    rename(document, found)


def _cards(document: Element, source: Inventory) -> Iterator[tuple[Element, str]]:
    """The elements of network devices, and their addresses."""
    lens = Address()
    for place in PLACES:
        for element in document.iterfind(place):
            address = lens.get(element)
            device = source.devices.get(address or "")
            if address and (element.tag == "interface" or (device is not None and device.base_class == NETWORK)):
                yield element, address


def _free(target: Inventory, address: str, device: Device | None) -> bool:
    other = target.devices[address]
    return (
        device is not None
        and (other.vendor, other.product) == (device.vendor, device.product)
        and bool(other.physical_function) == bool(device.physical_function)
        and verdict(target, address).word == "free"
    )
