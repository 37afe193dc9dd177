"""What is written into a VM for a USB device, and what the entries of a spec mean. Pure.

Vendor and product say it best, since they stay when the device is plugged in again. Where several are alike, bus and
number are written as well, and do not stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmctl.plan.usb.find import find, find_present
from kvmctl.spec.model.usb import Usb, spelled_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.plan.usb.facts import Device, Inventory

ABSENT = ("requisite", "optional")
"""What `missing:` says where a VM may start without the device."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Entries without ports, the devices of them that are there, and what there is to say."""

    entries: tuple[Usb, ...]
    ports: tuple[str, ...]
    sentences: tuple[str, ...] = ()


def choose(inventory: Inventory, entries: Sequence[Usb], *, start: bool) -> Chosen:
    """Settle the entries of a spec. Raises NotFound and Refused where one says nothing, or several devices.

    What is not plugged in may be so later, unless the VM is to `start` now.
    """
    settled, ports, sentences = [], [], []
    for given in map(spelled_out, entries):
        needed = given.port or (start and given.missing not in ABSENT)
        device = find_present(inventory, given) if needed else find(inventory, given)
        if device is not None:
            ports.append(device.port)
        if device is not None and given.port:
            entry = entry_of(inventory, device)
            settled.append(replace(entry, missing=given.missing, boot_order=given.boot_order))
            sentences += [f"port {given.port} has {device.ids}{named(device)}", *remarks(inventory, device)]
        else:
            settled.append(given)
    return Chosen(entries=tuple(settled), ports=tuple(ports), sentences=tuple(sentences))


def entry_of(inventory: Inventory, device: Device) -> Usb:
    """What is written for it."""
    entry = Usb(vendor=device.vendor, product=device.product)
    return entry if len(inventory.alike(device)) == 1 else replace(entry, bus=device.bus, device=device.number)


def remarks(inventory: Inventory, device: Device) -> Iterator[str]:
    """What follows from that."""
    others = [other.place for other in inventory.alike(device) if other != device]
    if others:
        yield (
            f"{', '.join(others)} is {device.ids} too, so it is kept as {device.place}, which it is no longer when it "
            "is plugged in again"
        )


def named(device: Device) -> str:
    """Its name in brackets, if it has one."""
    name = " ".join(filter(None, (device.vendor_name, device.product_name)))
    return f" ({name})" if name else ""
