"""All PCI devices of a host, who has them and what the host needs of them: libvirt's facts, and those of our own eyes.

On this machine the kernel is asked as well, and says what is mounted, routed and claimed; of another machine only
libvirt tells, and what cannot be seen counts as needed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.errors import Refused
from kvmctl.host import machine
from kvmctl.host.connection import translated
from kvmctl.host.pci import holders, nodes, sysfs, uses
from kvmctl.host.pci.iommu import iommu
from kvmctl.plan.pci.facts import Inventory, Iommu, Need
from kvmctl.plan.pci.needs import needs

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.pci.holders import Held
    from kvmctl.plan.pci.facts import Device
    from kvmctl.plan.pci.system import System


def inventory(host: Host) -> Inventory:
    """The devices by address. Raises Refused for a host elsewhere that has no node device driver to tell them."""
    with translated(doing="look at its devices", host=host.name):
        described = nodes.described(host, nodes.PCI | nodes.NET | nodes.STORAGE | nodes.MDEV)
        told = nodes.devices_of(described or {})
        held = holders.held(host)
    for uuid, address in nodes.mdevs_of(described or {}).items():
        held.devices[address] += held.mdevs.get(uuid, [])
    if _is_here(host):
        return _here(host, told, held)
    if described is None:
        raise Refused(
            "not-supported",
            f"the libvirt of {host.name} has no node device driver, which knows its devices",
            hint="install libvirt-daemon-driver-nodedev there, or run kvmctl on the host itself",
        )
    found = defaultdict(list, {address: list(each) for address, each in nodes.unseen(told).items()})
    by_name = {name: device.address for device in told.values() for name in (*device.interfaces, *device.blocks)}
    for name, vms in (*held.disks.items(), *held.cards.items()):
        if name in by_name:
            found[by_name[name]].insert(0, Need(code="vm-disk", sentence=f"{', '.join(vms)} has {name}"))
    grouped = any(device.group is not None for device in told.values())
    return Inventory(
        host=host.name,
        devices=told,
        needs={address: tuple(each) for address, each in found.items()},
        holders={address: tuple(each) for address, each in held.devices.items()},
        iommu=Iommu(enabled=grouped if told else None),
        local=False,
        missing=(
            f"only libvirt was asked: whatever carries a disk or a network interface of {host.name} counts as needed",
        ),
    )


def _is_here(host: Host) -> bool:
    """Whether our own eyes see what its libvirt sees. Another socket may be that of a container or another host."""
    plain = host.embedded or "?" not in host.target.uri
    return plain and machine.is_local(host.target) and host.target.uri.startswith("qemu")


def _here(host: Host, told: dict[str, Device], held: Held) -> Inventory:
    """What is known of this machine: the kernel's facts, with the names that libvirt has for them."""
    seen = sysfs.devices()
    for address, device in told.items():
        if address in seen:
            seen[address] = replace(
                seen[address],
                vendor_name=device.vendor_name,
                product_name=device.product_name,
                serial=seen[address].serial or device.serial,
            )
    for uuid, each in held.mdevs.items():
        address = sysfs.carrier(machine.ROOT / "sys/bus/mdev/devices" / uuid)
        if address and not any(holder in held.devices[address] for holder in each):
            held.devices[address] += each
    server = os.environ.get("SSH_CONNECTION", "").split()[2:3]
    running = {address for address, each in held.devices.items() if any(holder.running for holder in each)}
    known = uses.system_of(seen, connection=server[0] if server else "", running=running)
    system = _with_vms(known, held)
    return Inventory(
        host=host.name,
        devices=seen,
        needs=needs(system, seen),
        missing=() if os.geteuid() == 0 else ("only root sees all that is used: disks that may be count as needed",),
        holders={address: tuple(each) for address, each in held.devices.items()},
        iommu=iommu(own=host.embedded or host.target.uri.partition("?")[0].endswith("/session")),
    )


def _with_vms(system: System, held: Held) -> System:
    """With the VMs that have a disk or an interface of the host as it is."""
    return replace(
        system,
        blocks={
            name: replace(block, vms=tuple(held.disks[name])) if name in held.disks else block
            for name, block in system.blocks.items()
        },
        interfaces={
            name: replace(card, vms=tuple(held.cards[name])) if name in held.cards else card
            for name, card in system.interfaces.items()
        },
    )
