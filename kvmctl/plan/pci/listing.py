"""What is told of a host's devices, as plain values for programs and people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.plan.pci.classes import is_of, named
from kvmctl.plan.pci.guard import check
from kvmctl.plan.pci.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.plan.pci.facts import Inventory, Mdev
    from kvmctl.plan.pci.hindrances import Uses

Values = dict[str, Any]


def listed(
    inventory: Inventory, *, kind: str = "", vendor: str = "", node: int | None = None, free: bool = False
) -> list[Values]:
    """The devices by address; of them those of a kind (a word), a vendor (number or part of its name), a node."""
    found = []
    for address in sorted(inventory.devices):
        device = inventory.devices[address]
        if kind and not is_of(device.class_code, kind):
            continue
        if vendor and vendor.lower() != device.vendor and vendor.lower() not in device.vendor_name.lower():
            continue
        if node is not None and device.numa_node != node:
            continue
        values = told(inventory, address)
        if not free or values["verdict"].startswith("free"):
            found.append(values)
    return found


def told(inventory: Inventory, address: str) -> Values:
    """One device."""
    device, judged = inventory.devices[address], verdict(inventory, address)
    return {
        "name": address,
        "address": address,
        "class": named(device.class_code),
        "class_code": f"0x{device.class_code:06x}",
        "vendor": device.vendor,
        "product": device.product,
        "vendor_name": device.vendor_name or None,
        "product_name": device.product_name or None,
        "driver": device.driver or None,
        "iommu_group": device.group,
        "iommu_group_members": [member.address for member in inventory.groups.get(device.group or 0, ())]
        if device.group is not None
        else [],
        "numa_node": device.numa_node,
        "physical_function": device.physical_function or None,
        "virtual_functions": list(device.virtual_functions),
        "most_virtual_functions": device.most_virtual_functions,
        "mdev_types": [{"id": kind.id, "name": kind.name, "free": kind.free} for kind in device.mdev_types],
        "interfaces": list(device.interfaces),
        "blocks": list(device.blocks),
        "serial": device.serial or None,
        "resets": None if device.resets is None else list(device.resets),
        "used_by": list(users(inventory, address)),
        "verdict": judged.word,
        "reason": judged.reason or None,
        "along": list(judged.along),
        "host": inventory.host,
    }


def mdevs_listed(inventory: Inventory) -> list[Values]:
    """What the devices can be cut into, each type with the mdevs there are of it below it."""
    types: list[Values] = [
        {
            "name": kind.id,
            "kind": "type",
            "parent": address,
            "type": kind.id,
            "title": kind.name or None,
            "free": kind.free,
            "uuid": None,
            "active": None,
            "defined": None,
            "autostart": None,
            "used_by": [],
            "host": inventory.host,
        }
        for address in sorted(inventory.devices)
        for kind in inventory.devices[address].mdev_types
    ]
    mdevs = [mdev_told(inventory, inventory.mdevs[uuid]) for uuid in sorted(inventory.mdevs)]
    return sorted([*types, *mdevs], key=lambda item: (item["parent"], item["type"]))


def mdev_told(inventory: Inventory, mdev: Mdev) -> Values:
    """One mdev."""
    device = inventory.devices.get(mdev.parent)
    kinds = device.mdev_types if device is not None else ()
    return {
        "name": mdev.uuid,
        "kind": "mdev",
        "parent": mdev.parent,
        "type": mdev.type,
        "title": next((kind.name for kind in kinds if kind.id == mdev.type and kind.name), None),
        "free": None,
        "uuid": mdev.uuid,
        "active": mdev.active,
        "defined": mdev.defined,
        "autostart": mdev.autostart,
        "used_by": list(_vms(inventory, mdev.uuid)),
        "host": inventory.host,
    }


def explained(inventory: Inventory, address: str) -> Values:
    """One device with its whole group, and all that stands against assigning it alone."""
    device = inventory.devices[address]
    group = inventory.groups.get(device.group, ()) if device.group is not None else ()
    return {
        **told(inventory, address),
        "group": [told(inventory, member.address) for member in group],
        "findings": [finding.as_dict() for finding in check(inventory, [address])],
    }


def users(inventory: Uses, device: str) -> Iterator[Values]:
    """Who uses a device of any bus: VMs, and the host."""
    yield from _vms(inventory, device)
    for need in inventory.needs.get(device, ()):
        yield {"by": "host", "name": inventory.host, "running": True, "code": need.code, "reason": need.sentence}


def _vms(inventory: Uses, name: str) -> Iterator[Values]:
    """The VMs that have a device, or an mdev."""
    for holder in inventory.holders.get(name, ()):
        yield {"by": "vm", "name": holder.vm, "running": holder.running, "code": "assigned", "reason": None}
