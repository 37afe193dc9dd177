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
    from collections.abc import Mapping

    from kvmctl.host.connection import Host
    from kvmctl.host.pci.holders import Held
    from kvmctl.plan.pci.facts import Device, Holder, Mdev
    from kvmctl.plan.pci.system import System


def inventory(host: Host) -> Inventory:
    """The devices by address. Raises Refused for a host elsewhere that has no node device driver to tell them."""
    with translated(doing="look at its devices", host=host.name):
        described = nodes.described(host, nodes.PCI | nodes.NET | nodes.STORAGE | nodes.MDEV)
        told = nodes.devices_of(described or {})
        mdevs = nodes.mdevs(host, described or {})
        held = holders.held(host)
    if machine.is_here(host.target):
        return _here(host, told, held, {**sysfs.mdevs(), **mdevs})
    _hold_parents(held, mdevs)
    if described is None:
        raise blind(host)
    names = {name: device.address for device in told.values() for name in (*device.interfaces, *device.blocks)}
    grouped = any(device.group is not None for device in told.values())
    return Inventory(
        host=host.name,
        devices=told,
        needs=with_vms(nodes.unseen(told), names, held),
        holders=_holders(held),
        iommu=Iommu(enabled=grouped if told else None),
        mdevs=mdevs,
        local=False,
        missing=missing(host, here=False),
    )


def blind(host: Host) -> Refused:
    """The error for a host elsewhere whose devices cannot be seen at all."""
    return Refused(
        "not-supported",
        f"the libvirt of {host.name} has no node device driver, which knows its devices",
        hint="install libvirt-daemon-driver-nodedev there, or run kvmctl on the host itself",
    )


def with_vms(
    needs: Mapping[str, tuple[Need, ...]], names: Mapping[str, str], held: Held
) -> dict[str, tuple[Need, ...]]:
    """With the VMs that have a disk or an interface as it is; `names` tells which device carries each."""
    found = defaultdict(list, {device: list(each) for device, each in needs.items()})
    for name, vms in (*held.disks.items(), *held.cards.items()):
        if name in names:
            found[names[name]].insert(0, Need(code="vm-disk", sentence=f"{', '.join(vms)} has {name}"))
    return {device: tuple(each) for device, each in found.items()}


def missing(host: Host, *, here: bool) -> tuple[str, ...]:
    """What cannot be seen of its uses, and what follows from that."""
    if not here:
        return (
            f"only libvirt was asked: whatever carries a disk or a network interface of {host.name} counts as needed",
        )
    return () if os.geteuid() == 0 else ("only root sees all that is used: disks that may be count as needed",)


def _here(host: Host, told: dict[str, Device], held: Held, mdevs: dict[str, Mdev]) -> Inventory:
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
    _hold_parents(held, mdevs)
    return Inventory(
        host=host.name,
        devices=seen,
        needs=needs(system_here(seen, held), seen),
        missing=missing(host, here=True),
        holders=_holders(held),
        mdevs=mdevs,
        iommu=iommu(own=is_own(host)),
    )


def _hold_parents(held: Held, mdevs: Mapping[str, Mdev]) -> None:
    """Who has an mdev has a part of its device."""
    for uuid, mdev in mdevs.items():
        held.devices[mdev.parent] += held.mdevs.get(uuid, ())


def _holders(held: Held) -> dict[str, tuple[Holder, ...]]:
    return {name: tuple(each) for name, each in (*held.devices.items(), *held.mdevs.items())}


def is_own(host: Host) -> bool:
    """Whether its libvirt, and the QEMUs of that, have the rights of whoever calls, and no more."""
    return host.embedded or host.target.uri.partition("?")[0].endswith("/session")


def system_here(devices: Mapping[str, Device], held: Held) -> System:
    """What this machine does with its disks and interfaces, those of VMs among it."""
    server = os.environ.get("SSH_CONNECTION", "").split()[2:3]
    running = {address for address, each in held.devices.items() if any(holder.running for holder in each)}
    system = uses.system_of(devices, connection=server[0] if server else "", running=running)
    units: dict[str, list[str]] = defaultdict(list)
    for was, holder in held.scsi:
        units[was["address"]].append(holder.vm)
    return replace(
        system,
        blocks={
            name: replace(block, vms=(*held.disks.get(name, ()), *units.get(block.scsi, ())))
            for name, block in system.blocks.items()
        },
        interfaces={
            name: replace(card, vms=tuple(held.cards[name])) if name in held.cards else card
            for name, card in system.interfaces.items()
        },
    )
