"""All USB devices of a host, who has them and what the host needs of them: as for PCI, libvirt's facts and our own.

On this machine the kernel is asked as well; of another only libvirt tells, and what cannot be seen counts as needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.host.connection import translated
from kvmctl.host.machine import is_here
from kvmctl.host.pci.holders import held
from kvmctl.host.pci.inventory import blind, is_own, missing, system_here, with_vms
from kvmctl.host.pci.nodes import described
from kvmctl.host.usb import nodes, sysfs
from kvmctl.plan.pci.needs import usb_needs
from kvmctl.plan.usb.facts import Inventory
from kvmctl.plan.usb.find import means

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.pci.holders import Held
    from kvmctl.plan.pci.facts import Holder
    from kvmctl.plan.usb.facts import Device


def inventory(host: Host) -> Inventory:
    """The devices by port. Raises Refused for a host elsewhere that has no node device driver to tell them."""
    with translated(doing="look at its USB devices", host=host.name):
        found = described(host, nodes.KINDS)
        told = nodes.devices_of(found or {})
        known = held(host)
    if is_here(host.target):
        return _here(host, told, known)
    if found is None:
        raise blind(host)
    names = {name: device.port for device in told.values() for name in (*device.interfaces, *device.blocks)}
    return Inventory(
        host=host.name,
        devices=told,
        needs=with_vms(nodes.unseen(told), names, known),
        holders=_holders(told, known),
        missing=missing(host, here=False),
    )


def _here(host: Host, told: dict[str, Device], known: Held) -> Inventory:
    """What is known of this machine: the kernel's facts, with the names that libvirt has for them."""
    seen = sysfs.devices(own=is_own(host))
    for port, device in told.items():
        if port in seen:
            names = {name: getattr(device, name) or getattr(seen[port], name) for name in NAMES}
            seen[port] = replace(seen[port], **names)
    hidden = [port for port, device in seen.items() if device.hides_interface]
    return Inventory(
        host=host.name,
        devices=seen,
        needs=usb_needs(system_here({}, known), hidden),
        holders=_holders(seen, known),
        missing=missing(host, here=True),
    )


NAMES = ("vendor_name", "product_name")


def _holders(devices: dict[str, Device], known: Held) -> dict[str, tuple[Holder, ...]]:
    """The VMs that have each, or may have it, where several are alike and the VM does not say which."""
    found = {
        port: tuple(holder for entry, holder in known.usb if means(entry, device)) for port, device in devices.items()
    }
    return {port: each for port, each in found.items() if each}
