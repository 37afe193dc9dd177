"""What hinders one device itself from being given away, whatever else is in its group. Pure.

The guard and the verdict both rest on this judgement: see `guard.py` and `verdict.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

if TYPE_CHECKING:
    from kvmctl.plan.pci.facts import Device, Holder, Inventory, Need

Word = Literal["free", "free-with-group", "in-use", "needed", "not-assignable"]
WORDS: tuple[Word, ...] = get_args(Word)
"""What can become of a device."""

BOARD_CLASSES = range(0x0800, 0x0805)
"""Interrupt and DMA controllers, timers, clocks, hot-plug controllers."""
IOMMU_CLASS = 0x0806
BOARD_BASES = (0x05, 0x06, 0x0B)
"""Memory, bridges and processors."""
ODD_BRIDGE = 0x0680
"""What is called a bridge and is none: switches between GPUs, which VMs may have, are of this class."""
GONE = "ffff"
"""What is read of a device that does not answer."""


class Uses(Protocol):
    """Of the devices of any bus: what the host needs of each, and who has it."""

    @property
    def host(self) -> str: ...
    @property
    def needs(self) -> Mapping[str, tuple[Need, ...]]: ...
    @property
    def holders(self) -> Mapping[str, tuple[Holder, ...]]: ...


@dataclass(frozen=True, kw_only=True)
class Hindrance:
    """Why one device cannot be given away, whatever else is; `code` is the guard's."""

    word: Word
    code: str
    reason: str


def is_bound(device: Device) -> bool:
    """Whether a driver of the host has it. Drivers of vfio keep it for VMs, and pci-stub for nobody."""
    return bool(device.driver) and device.driver != "pci-stub" and "vfio" not in device.driver


def is_board(device: Device) -> bool:
    """Whether it is part of the machine itself."""
    sub = device.class_code >> 8
    return sub in BOARD_CLASSES or sub == IOMMU_CLASS or (device.base_class in BOARD_BASES and sub != ODD_BRIDGE)


def hindrances(inventory: Inventory, address: str, *, uuid: str = "") -> Iterator[Hindrance]:
    """All that hinders one device itself, the worst first. `uuid` is the VM that is to have it."""
    device = inventory.devices[address]
    if device.unreachable or device.vendor == GONE:
        yield Hindrance(word="not-assignable", code="device-gone", reason="it does not answer, as if it were removed")
    if is_board(device):
        what = "a bridge" if device.is_bridge else "part of the machine itself"
        yield Hindrance(word="not-assignable", code="device-board", reason=f"it is {what}")
    yield from used(inventory, address, uuid=uuid)
    for function in device.virtual_functions:
        for holder in inventory.holders.get(function, ()):
            if holder.running and holder.uuid != uuid:
                reason = f"{holder.vm} has its function {function}, and runs"
                yield Hindrance(word="in-use", code="vfs-in-use", reason=reason)


def used(inventory: Uses, device: str, *, uuid: str = "") -> Iterator[Hindrance]:
    """What hinders a device of any bus since somebody uses it."""
    for need in inventory.needs.get(device, ()):
        yield Hindrance(word="needed", code="host-needs-device", reason=need.sentence)
    for holder in inventory.holders.get(device, ()):
        if holder.running and holder.uuid != uuid:
            way = f" ({holder.through})" if holder.through else ""
            yield Hindrance(word="in-use", code="device-in-use", reason=f"{holder.vm} has it{way}, and runs")
