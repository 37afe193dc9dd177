"""What is told of a host's SCSI devices, as plain values for programs and people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.plan.pci.listing import users
from kvmctl.plan.scsi.guard import verdict

if TYPE_CHECKING:
    from kvmctl.plan.scsi.facts import Inventory


def listed(inventory: Inventory, *, free: bool = False) -> list[dict[str, Any]]:
    """The devices by address."""
    addresses = sorted(inventory.devices, key=lambda address: [int(part) for part in address.split(":")])
    found = [_told(inventory, address) for address in addresses]
    return [values for values in found if not free or values["verdict"] == "free"]


def _told(inventory: Inventory, address: str) -> dict[str, Any]:
    device, judged = inventory.devices[address], verdict(inventory, address)
    return {
        "name": address,
        "address": address,
        "kind": device.kind,
        "vendor": device.vendor or None,
        "model": device.model or None,
        "serial": device.serial or None,
        "wwn": device.wwn or None,
        "block": device.block or None,
        "nodes": list(device.nodes),
        "size": device.size,
        "used_by": list(users(inventory, address)),
        "verdict": judged.word,
        "reason": judged.reason or None,
        "host": inventory.host,
    }
