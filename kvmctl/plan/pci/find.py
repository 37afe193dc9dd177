"""Finds one device of a host by what people call it: address, network interface, disk, serial number. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kvmctl.errors import NotFound, Refused
from kvmctl.spec.model.pci import in_full

if TYPE_CHECKING:
    from kvmctl.plan.pci.facts import Device, Inventory

_HALF = re.compile(r"[0-9a-f]{1,8}(:[0-9a-f]{1,2})+\.?", re.IGNORECASE)


def address_in_full(text: str) -> str | None:
    """`3b:0.0` as Linux writes it, 0000:3b:00.0; None for what is no address."""
    try:
        return in_full(text)
    except ValueError:
        return None


def names_of(device: Device) -> Iterator[str]:
    """What it can be called beside its address."""
    yield from device.interfaces
    yield from device.blocks
    if device.serial:
        yield device.serial


def find(inventory: Inventory, text: str) -> str:
    """The address of the device meant. Raises NotFound, and Refused where two are called so."""
    wanted = text.removeprefix("/dev/")
    address = address_in_full(text)
    if address is not None:
        if address in inventory.devices:
            return address
        raise _missing(inventory, f"{inventory.host} has no PCI device {address}", address, inventory.devices)
    found = [device.address for device in inventory.devices.values() if wanted in names_of(device)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused("device-ambiguous", f"{text} is {' and '.join(sorted(found))}", hint="name the address")
    if _HALF.fullmatch(text):
        raise NotFound(
            "device-not-found",
            f"'{text}' is no whole PCI address",
            hint="write bus, slot and function, as in 3b:00.0; kvmctl pci list shows them",
        )
    known = [name for device in inventory.devices.values() for name in names_of(device)]
    raise _missing(inventory, f"no PCI device of {inventory.host} is called '{text}'", wanted, known)


def _missing(inventory: Inventory, message: str, wanted: str, known: object) -> NotFound:
    near = get_close_matches(wanted, list(known), 1)  # type: ignore[call-overload]
    hint = f"did you mean {near[0]}?" if near else f"kvmctl pci list -H {inventory.host} shows which there are"
    return NotFound("device-not-found", message, hint=hint)
