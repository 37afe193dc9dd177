"""What a plan may know of the SCSI devices of a host. Facts only, filled by `host/scsi/`.

A device is called by its address, as Linux does: `2:0:0:0` is adapter, channel, target and LUN. All that SCSI commands
are spoken to has one: SAS and Fibre Channel disks, and SATA and USB disks as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.pci.facts import Holder, Need

KINDS = {
    0x00: "disk",
    0x01: "tape",
    0x02: "printer",
    0x03: "processor",
    0x04: "worm",
    0x05: "cd/dvd",
    0x06: "scanner",
    0x07: "optical",
    0x08: "changer",
    0x0C: "controller",
    0x0D: "enclosure",
    0x0E: "disk",
    0x11: "object store",
    0x14: "zoned disk",
}
"""Peripheral device types of the SCSI Primary Commands, in words."""
CONTROLLER = "controller"
"""An array controller: whoever speaks to it disposes of all of its disks."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One SCSI device of a host.

    `nodes` are the kernel's names for it, `block` the one of them that is a disk; `links` are further paths below /dev.
    `generic` is the node by which QEMU speaks to it; empty if there is none, None where that is not known. `usable`
    tells whether the QEMUs of this host have the right to it; None if it is not known.
    """

    address: str
    kind: str
    vendor: str = ""
    model: str = ""
    serial: str = ""
    wwn: str = ""
    block: str = ""
    size: int | None = None
    nodes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    generic: str | None = None
    usable: bool | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return (*(f"/dev/{node}" for node in self.nodes), *self.links)

    @property
    def product(self) -> str:
        return " ".join(filter(None, (self.vendor, self.model)))


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All SCSI devices of a host by address, who has them, and what the host needs of them."""

    host: str
    devices: Mapping[str, Device]
    needs: Mapping[str, tuple[Need, ...]] = field(default_factory=dict)
    holders: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """What could not be seen, and what follows from that: a sentence each."""

    def twins(self, address: str) -> tuple[Device, ...]:
        """The same device at other addresses: several ways lead to it."""
        wwn = self.devices[address].wwn
        return tuple(
            device for other, device in sorted(self.devices.items()) if wwn and other != address and device.wwn == wwn
        )
