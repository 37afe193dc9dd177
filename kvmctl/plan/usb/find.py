"""Which device of a host is meant by a word, or by what a VM says of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kvmctl.errors import NotFound, Refused
from kvmctl.spec.model.usb import Usb, said

if TYPE_CHECKING:
    from kvmctl.plan.usb.facts import Device, Inventory


def means(entry: Usb, device: Device) -> bool:
    """Whether all that is said fits the device."""
    told = ((entry.port, device.port), (entry.vendor, device.vendor), (entry.product, device.product))
    place = ((entry.bus, device.bus), (entry.device, device.number))
    return any(one for one, _ in (*told, *place)) and all(one in (None, other) for one, other in (*told, *place))


def stands_for(inventory: Inventory, entry: Usb, device: Device) -> bool:
    """Whether an entry of a VM is this very device: of several alike none is, unless bus and number are said too."""
    return means(entry, device) and bool(entry.bus or len(inventory.alike(device)) == 1)


def find(inventory: Inventory, entry: Usb) -> Device | None:
    """The device that is meant; None if it is not there. Raises Refused where several are alike."""
    found = [inventory.devices[port] for port in sorted(inventory.devices) if means(entry, inventory.devices[port])]
    if len(found) > 1:
        names = ", ".join(f"{device.place} (port {device.port})" for device in found)
        raise Refused(
            "device-ambiguous",
            f"{inventory.host} has {len(found)} USB devices that are {said(entry)}: {names}",
            hint=f"name one by bus and device, {found[0].place}, or by port, {found[0].port}",
        )
    return found[0] if found else None


def find_present(inventory: Inventory, entry: Usb) -> Device:
    """The device that is meant. Raises NotFound if it is not there."""
    found = find(inventory, entry)
    if found is not None:
        return found
    devices = [device for device in inventory.devices.values() if not device.is_hub]
    known = [name for device in devices for name in (device.port, device.ids, device.place)]
    near = get_close_matches(said(entry), known, 1)
    raise NotFound(
        "device-not-found",
        f"{inventory.host} has no USB device {said(entry)}",
        hint=f"did you mean {near[0]}?" if near else f"kvmctl usb list -H {inventory.host} shows which there are",
    )


def own(inventory: Inventory, wanted: Usb) -> Callable[[Iterable[Usb]], list[int]]:
    """A search among what a VM has for what is wanted: the places of all that fit.

    What is said in the same words fits first; it may be of a device that was unplugged meanwhile.
    """
    devices = [device for device in inventory.devices.values() if means(wanted, device)]

    def search(entries: Iterable[Usb]) -> list[int]:
        there = list(entries)
        same = [index for index, entry in enumerate(there) if _says(entry, wanted)]
        fits = [index for index, entry in enumerate(there) if any(means(entry, device) for device in devices)]
        return same or fits

    return search


def _says(entry: Usb, wanted: Usb) -> bool:
    """Whether an entry says all that is wanted, in the same words."""
    if wanted.port:
        return False
    if wanted.vendor:
        return (entry.vendor, entry.product) == (wanted.vendor, wanted.product)
    return (entry.bus, entry.device) == (wanted.bus, wanted.device)
