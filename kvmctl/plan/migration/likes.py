"""Devices of the source that a VM has for itself, and those of the target that are like them. Pure.

Of network devices the guest can let go and get another; a device whose driver can save its state goes with it.
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
PLAIN = ("vfio-pci", "vfio_pci")
"""The driver for all devices, which saves no state; those that do are made for some: mlx5_vfio_pci, for one."""
PLACES = ("devices/hostdev", "devices/interface")


def likes(documents: Sequence[Element], source: Inventory, target: Inventory) -> dict[str, str]:
    """Address here -> address there, which is empty where the target has no free one."""
    found: dict[str, str] = {}
    for address in sorted({address for document in documents for address in _that_go(document, source)}):
        device = source.devices.get(address)
        free = [other for other in target.devices if other not in found.values() and _free(target, other, device)]
        free.sort(key=lambda other: (bool(target.holders.get(other)), other != address, other))
        found[address] = free[0] if free else ""
    return found


def carried(documents: Sequence[Element], source: Inventory) -> tuple[str, ...]:
    """The devices whose state goes along with the VM: they run with one of vfio's drivers that can save it."""
    found = {address for document in documents for address in _addresses(document)}
    return tuple(sorted(address for address in found if address in source.devices and _saves(source.devices[address])))


def swap(document: Element, found: Mapping[str, str]) -> None:
    """Have a definition name the devices of the target."""
    lens = Address()
    for place in PLACES:
        for element in document.iterfind(place):
            there = found.get(lens.get(element) or "")
            if there:
                lens.put(element, there)
    rename(document, found)


def _saves(device: Device) -> bool:
    return "vfio" in device.driver and device.driver not in PLAIN


def _addresses(document: Element) -> Iterator[str]:
    lens = Address()
    return filter(None, (lens.get(element) for place in PLACES for element in document.iterfind(place)))


def _that_go(document: Element, source: Inventory) -> Iterator[str]:
    """Network devices, and those whose state goes along."""
    cards = document.findall("devices/interface")
    lens = Address()
    for address in _addresses(document):
        device = source.devices.get(address)
        if device is None:
            known = any(lens.get(card) == address for card in cards)
        else:
            known = device.base_class == NETWORK or _saves(device)
        if known:
            yield address


def _free(target: Inventory, address: str, device: Device | None) -> bool:
    other = target.devices[address]
    return (
        device is not None
        and (other.vendor, other.product) == (device.vendor, device.product)
        and bool(other.physical_function) == bool(device.physical_function)
        and verdict(target, address).word == "free"
    )
