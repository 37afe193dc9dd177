"""What stands against giving SCSI devices to a VM, and whether any VM could have one. Pure.

Who needs and has a device is judged by what judges PCI devices, in `plan/pci/`; here is what only SCSI has: several
ways to one device, of which each is judged by all, and devices that VMs share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker
from kvmctl.plan.pci.guard import of_one, twice
from kvmctl.plan.pci.hindrances import Hindrance, used
from kvmctl.plan.pci.verdict import judged
from kvmctl.plan.scsi.facts import CONTROLLER
from kvmctl.plan.scsi.find import addresses_of

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.verdict import Verdict
    from kvmctl.plan.scsi.facts import Device, Inventory


def check(
    inventory: Inventory,
    addresses: Sequence[str],
    *,
    shared: Collection[str] = (),
    uuid: str = "",
    forced: Collection[str] = (),
) -> tuple[Finding, ...]:
    """All findings about these devices for one VM, of which `uuid` is its own; those that are not there are left out.

    `shared` are those that it would share with others who share them; `forced` it may take from the host, by address
    or by path.
    """
    found = list(twice(addresses))
    taken = addresses_of(inventory, forced)
    for address in dict.fromkeys(addresses):
        if address in inventory.devices:
            seen = _apart(inventory) if address in shared else inventory
            found += of_one(seen, address, _hindrances(seen, address, uuid), uuid=uuid, forced=taken)
            found += _rights(inventory.devices[address])
    return tuple(dict.fromkeys(found))


def verdict(inventory: Inventory, address: str) -> Verdict:
    """What `scsi list` says of a device."""
    return judged(inventory, address, _hindrances(inventory, address, ""), check(inventory, [address]))


def _hindrances(inventory: Inventory, address: str, uuid: str) -> Iterator[Hindrance]:
    if inventory.devices[address].kind == CONTROLLER:
        yield Hindrance(word="not-assignable", code="device-controller", reason="it is the controller of an array")
    yield from used(inventory, address, uuid=uuid)
    for twin in inventory.twins(address):
        for hindrance in used(inventory, twin.address, uuid=uuid):
            yield replace(hindrance, reason=f"{hindrance.reason}, by another way to it, {twin.address}")


def _apart(inventory: Inventory) -> Inventory:
    """Without those who share what they have."""
    holders = {
        address: tuple(holder for holder in each if not holder.shares) for address, each in inventory.holders.items()
    }
    return replace(inventory, holders=holders)


def _rights(device: Device) -> Iterator[Finding]:
    if device.generic == "":
        what = f"the host has no generic device for {device.address}, by which QEMU would speak to it"
        yield blocker("no-generic-device", what, "load the kernel's module: modprobe sg", subject=device.address)
    elif device.usable is False:
        yield blocker(
            "not-privileged",
            f"this libvirt runs without root's rights, and has none to {device.address} (/dev/{device.generic})",
            "use the system's libvirt: -H qemu:///system; or give yourself the right by a rule of udev",
            subject=device.address,
        )
