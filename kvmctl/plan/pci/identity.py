"""What a device was when a VM got it, and whether it still is: addresses change when cards do. Pure.

Only what is known then and now is compared: a remote connection does not tell serial numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import unless

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.facts import Device, Inventory

Identity = Mapping[str, str]
"""`address`, `product` as vendor:product, and `serial` if it is known: what is kept with the VM."""


def identity(device: Device) -> Identity:
    kept = {"address": device.address, "product": f"{device.vendor}:{device.product}"}
    return {**kept, "serial": device.serial} if device.serial else kept


def identities(inventory: Inventory, addresses: Iterable[str]) -> tuple[Identity, ...]:
    """Those that are there."""
    return tuple(identity(inventory.devices[address]) for address in addresses if address in inventory.devices)


def moved(
    inventory: Inventory, kept: Iterable[Identity], addresses: Collection[str], *, forced: Collection[str] = ()
) -> Iterator[Finding]:
    """Of these addresses those that have another device now. One that is forced is taken as it is."""
    for was in kept:
        address = was.get("address", "")
        if address not in addresses or address not in inventory.devices:
            continue
        now = identity(inventory.devices[address])
        other = next((key for key in ("product", "serial") if _differ(was.get(key), now.get(key))), None)
        if other is None:
            continue
        what = f"{address} was {_told(was, other)} when the VM got it, and is {_told(now, other)} now"
        there = [device.address for device in inventory.devices.values() if _is(identity(device), was)]
        where = f"it may be {there[0]} now; " if there else "kvmctl pci list shows what is there; "
        hint = f"{where}--force-host-device {address} starts with the one that is at that address"
        yield unless(address in forced, "device-moved", what, hint, subject=address)


def _differ(was: str | None, now: str | None) -> bool:
    return bool(was and now and was != now)


def _is(device: Identity, was: Identity) -> bool:
    return device["product"] == was.get("product") and device.get("serial") == was.get("serial")


def _told(one: Identity, key: str) -> str:
    return f"the one with serial number {one[key]}" if key == "serial" else one[key]
