"""All SCSI devices of a host, who has them and what the host needs of them: as for PCI, libvirt's facts and our own.

On this machine the kernel is asked alone; of another only libvirt tells, and what cannot be seen counts as needed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.host.connection import translated
from kvmctl.host.machine import is_here
from kvmctl.host.pci.holders import held
from kvmctl.host.pci.inventory import blind, is_own, missing, system_here, with_vms
from kvmctl.host.pci.nodes import described
from kvmctl.host.scsi import nodes, sysfs
from kvmctl.plan.pci.needs import scsi_needs
from kvmctl.plan.scsi.facts import Inventory
from kvmctl.plan.scsi.find import is_same

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmctl.host.connection import Host
    from kvmctl.host.pci.holders import Held
    from kvmctl.plan.pci.facts import Holder
    from kvmctl.plan.scsi.facts import Device


def inventory(host: Host) -> Inventory:
    """The devices by address. Raises Refused for a host elsewhere that has no node device driver to tell them."""
    here = is_here(host.target)
    with translated(doing="look at its SCSI devices", host=host.name):
        found = None if here else described(host, nodes.KINDS)
        known = held(host)
    if here:
        return _here(host, known)
    if found is None:
        raise blind(host)
    told = nodes.devices_of(found)
    names = {node: device.address for device in told.values() for node in device.nodes}
    return Inventory(
        host=host.name,
        devices=told,
        needs=with_vms(nodes.unseen(told), names, known),
        holders=_holders(told, known),
        missing=missing(host, here=False),
    )


def _here(host: Host, known: Held) -> Inventory:
    """What is known of this machine. Who has a device is no other use of it, and its QEMU no other process."""
    seen = sysfs.devices(own=is_own(host))
    holders = _holders(seen, known)
    system = system_here({}, replace(known, scsi=[]))
    running = {address for address, each in holders.items() if any(holder.running for holder in each)}
    openers = {address: who for address, who in system.scsi_openers.items() if address not in running}
    return Inventory(
        host=host.name,
        devices=seen,
        needs=scsi_needs(replace(system, scsi_openers=openers)),
        holders=holders,
        missing=missing(host, here=True),
    )


def _holders(devices: Mapping[str, Device], known: Held) -> dict[str, tuple[Holder, ...]]:
    """The VMs that have each: a running one at the address that it says, any other where its device is now."""
    found: dict[str, list[Holder]] = defaultdict(list)
    for was, holder in known.scsi:
        for address, device in devices.items():
            if address == was["address"] if holder.running else is_same(was, device):
                found[address].append(holder)
    return {address: tuple(each) for address, each in found.items()}
