"""Where the SCSI devices of a VM are now: a host counts adapters and targets anew at each boot. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker
from kvmctl.plan.scsi.find import is_same

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.scsi.facts import Device, Inventory
    from kvmctl.spec.model.scsi import Identity

LIST = "kvmctl scsi list shows what is there"


def identity(device: Device) -> Identity:
    """What is kept of it with a VM."""
    kept = {"address": device.address, "product": device.product, "serial": device.serial, "wwn": device.wwn}
    return {key: value for key, value in kept.items() if value}


def identities(inventory: Inventory, addresses: Iterable[str]) -> tuple[Identity, ...]:
    """Those that are there."""
    return tuple(identity(inventory.devices[address]) for address in addresses if address in inventory.devices)


def places(inventory: Inventory, kept: Iterable[Identity], *, forced: Collection[str] = ()) -> dict[str, str]:
    """The address that each has now, by the one that it had; one that is nowhere is left out.

    One that is forced is taken as it is. Where several ways lead to a device, it stays where it was if it can.
    """
    found: dict[str, str] = {}
    for was in kept:
        address = was.get("address", "")
        there = sorted(device.address for device in inventory.devices.values() if is_same(was, device))
        there = [each for each in there if inventory.devices[each].wwn or inventory.devices[each].serial] or there
        by_wwn = bool(was.get("wwn")) and all(inventory.devices[each].wwn for each in there)
        if address in there or (address in forced and address in inventory.devices):
            found[address] = address
        elif len(there) == 1 or (there and by_wwn):
            found[address] = there[0]
    return found


def lost(inventory: Inventory, kept: Iterable[Identity], found: Mapping[str, str]) -> Iterator[Finding]:
    """What there is to say of those that are nowhere."""
    for was in kept:
        address = was.get("address", "")
        if address in found:
            continue
        if address not in inventory.devices:
            what = f"{inventory.host} has no SCSI device {_told(was)}"
            hint = f"{LIST}; kvmctl scsi detach takes it from the VM"
            yield blocker("device-missing", what, hint, subject=address)
            continue
        now = identity(inventory.devices[address])
        there = [device.address for device in inventory.devices.values() if is_same(was, device)]
        where = f"it may be {' or '.join(sorted(there))} now; " if there else f"{LIST}; "
        hint = f"{where}--force-host-device {address} starts with the one that is at that address"
        what = f"{address} was {_named(was)} when the VM got it, and is {_named(now)} now"
        yield blocker("device-moved", what, hint, subject=address)


def _told(was: Identity) -> str:
    name = _named(was)
    return f"{was.get('address')}, which was {name}" if name else was.get("address", "")


def _named(one: Identity) -> str:
    """What it is, and which."""
    which = one.get("wwn") or one.get("serial")
    return " ".join(filter(None, (one.get("product"), which)))
