"""Small hosts with SCSI devices, for the tests of decisions about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kvmctl.plan.scsi.facts import Device, Inventory


def disk(address: str, block: str = "", **more: Any) -> Device:
    made = Device(address=address, kind="disk", vendor="ACME", model="Disk", block=block)
    return replace(made, **{"nodes": (block,) if block else (), **more})


def units(*devices: Device, **more: Any) -> Inventory:
    return Inventory(host="host1", devices={device.address: device for device in devices}, **more)
