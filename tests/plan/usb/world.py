"""Small hosts with USB devices, for the tests of decisions about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kvmctl.plan.usb.facts import Device, Inventory


def stick(port: str, *, number: int = 7, ids: str = "046d:c52b", **more: Any) -> Device:
    vendor, product = ids.split(":")
    made = Device(
        port=port, bus=int(port.removeprefix("usb").partition("-")[0]), number=number, vendor=vendor, product=product
    )
    return replace(made, **more)


def bus(*devices: Device, **more: Any) -> Inventory:
    return Inventory(host="host1", devices={device.port: device for device in devices}, **more)
