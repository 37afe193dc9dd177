"""Small hosts for the tests of decisions about devices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kvmctl.plan.pci.facts import Device, Holder, Inventory, Iommu
from kvmctl.plan.pci.needs import needs
from kvmctl.plan.pci.system import Block, Interface, System

IOMMU = Iommu(enabled=True, interrupt_remapping=True, no_iommu=False, vfio=True, processor="intel")
CLASSES = {"nvme": 0x010802, "nic": 0x020000, "gpu": 0x030000, "audio": 0x040300, "usb": 0x0C0330, "sata": 0x010601}
CLASSES |= {"bridge": 0x060400, "isa": 0x060100, "smbus": 0x0C0500}
DRIVERS = {"nvme": "nvme", "nic": "igb", "gpu": "nouveau", "audio": "snd_hda_intel", "usb": "xhci_hcd", "sata": "ahci"}


def device(address: str, kind: str = "nic", *, group: int | None = 1, **more: Any) -> Device:
    known = Device(
        address=address,
        class_code=CLASSES[kind],
        vendor="8086",
        product="10c9",
        driver=DRIVERS.get(kind, ""),
        group=group,
        resets=("flr",),
        boot_vga=False,
    )
    return replace(known, **more)


def host(*devices: Device, blocks: tuple[Block, ...] = (), cards: tuple[Interface, ...] = (), **more: Any) -> Inventory:
    """With what the host needs worked out of its blocks and cards."""
    known = {one.address: one for one in devices}
    system = System(
        blocks={block.name: block for block in blocks},
        interfaces={card.name: card for card in cards},
        screens=more.pop("screens", frozenset()),
        hidden=more.pop("hidden", frozenset()),
    )
    return Inventory(host="host1", devices=known, needs=needs(system, known), **{"iommu": IOMMU, **more})


def has(vm: str, *, running: bool = True) -> tuple[Holder, ...]:
    return (Holder(vm=vm, uuid=f"uuid of {vm}", running=running),)
