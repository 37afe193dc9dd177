"""Which SCSI device of a host is meant by a word, or by what is kept of it with a VM. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kvmctl.errors import NotFound, Refused
from kvmctl.spec.model.scsi import said, selector

if TYPE_CHECKING:
    from kvmctl.plan.scsi.facts import Device, Inventory
    from kvmctl.spec.model.scsi import Identity, Scsi

LUN = re.compile(r"-[0-9]+:[0-9]+$")
"""What the serial number of a disk behind USB ends with."""


def means(entry: Scsi, device: Device) -> bool:
    """Whether what is said fits the device. A WWN is often written without the 0x, a serial number without the LUN."""
    if entry.serial:
        names = (device.serial, LUN.sub("", device.serial))
        return entry.serial in names or f"0x{entry.serial.lower()}" == device.wwn
    if entry.path:
        return entry.path in device.paths
    return entry.wwn == device.wwn if entry.wwn else bool(entry.address) and entry.address == device.address


def is_same(was: Identity, device: Device) -> bool:
    """Whether a device is what a VM was given: by what both of them tell, and by its address only if that is all."""
    for key, now in (("wwn", device.wwn), ("serial", device.serial)):
        if was.get(key) and now:
            return was[key] == now
    if device.product and (was.get("wwn") or was.get("serial") or was.get("product", device.product) != device.product):
        return False  # it tells what it is, and that is another
    return was.get("address") == device.address


def find(inventory: Inventory, entry: Scsi) -> Device | None:
    """The device that is meant; None if it is not there. Raises Refused where several are called so."""
    found = [device for _, device in sorted(inventory.devices.items()) if means(entry, device)]
    if len(found) > 1:
        raise Refused(
            "device-ambiguous",
            f"{inventory.host} has {len(found)} SCSI devices that are {said(entry)}: "
            f"{', '.join(device.address for device in found)}",
            hint=f"name one by its address, {found[0].address}",
        )
    return found[0] if found else None


def find_present(inventory: Inventory, entry: Scsi) -> Device:
    """The device that is meant. Raises NotFound if it is not there."""
    found = find(inventory, entry)
    if found is not None:
        return found
    known = [name for each in inventory.devices.values() for name in (each.address, *each.paths, each.wwn, each.serial)]
    near = get_close_matches(said(entry), filter(None, known), 1)
    raise NotFound(
        "device-not-found",
        f"{inventory.host} has no SCSI device {said(entry)}",
        hint=f"did you mean {near[0]}?" if near else f"kvmctl scsi list -H {inventory.host} shows which there are",
    )


def addresses_of(inventory: Inventory, words: Collection[str]) -> frozenset[str]:
    """The addresses of what these words name. They may be of devices of other buses too."""
    found = set()
    for word in words:
        try:
            entry = selector(word)
        except ValueError:
            continue
        if entry.address or entry.path:
            found |= {device.address for device in inventory.devices.values() if means(entry, device)}
    return frozenset(found)
