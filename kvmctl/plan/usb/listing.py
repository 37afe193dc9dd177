"""What is told of a host's USB devices, as plain values for programs and people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.plan.pci.listing import users
from kvmctl.plan.usb.guard import verdict

if TYPE_CHECKING:
    from kvmctl.plan.usb.facts import Device, Inventory


def listed(inventory: Inventory, *, free: bool = False) -> list[dict[str, Any]]:
    """The devices by port; hubs, which no VM can have, are left out."""
    devices = sorted(inventory.devices.values(), key=_place)
    found = [_told(inventory, device) for device in devices if not device.is_hub]
    return [values for values in found if not free or values["verdict"] == "free"]


def _place(device: Device) -> tuple[int, ...]:
    return tuple(int(part) for part in device.port.replace("-", ".").split(".") if part.isdecimal())


def _told(inventory: Inventory, device: Device) -> dict[str, Any]:
    judged = verdict(inventory, device.port)
    return {
        "name": device.port,
        "port": device.port,
        "bus": device.bus,
        "device": device.number,
        "vendor": device.vendor,
        "product": device.product,
        "vendor_name": device.vendor_name or None,
        "product_name": device.product_name or None,
        "serial": device.serial or None,
        "drivers": list(device.drivers),
        "interfaces": list(device.interfaces),
        "blocks": list(device.blocks),
        "used_by": list(users(inventory, device.port)),
        "verdict": judged.word,
        "reason": judged.reason or None,
        "host": inventory.host,
    }
