"""What a host does with its block devices and network interfaces, as its own eyes see it. Facts only.

Names are the kernel's: `nvme0n1p2`, `dm-0`, `eth0`. Whatever could not be seen is not there, and who judges must know
by `Inventory.local` whether anybody has looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Layer = Literal["disk", "partition", "raid", "lvm", "crypt", "multipath", "mapped", "loop", "other"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block device. `pci` is the device that it hangs on, directly or through controllers of other buses; `usb` is
    the port of the USB device that it is or hangs on, if there is one on the way, `scsi` the address of the SCSI
    device.

    `below` are the block devices that it is made of: the disk of a partition, the members of an array. `label` is how
    people know it: `vg0-root`. `claimed`: something in the kernel has it for itself, whatever that is; None where only
    root could tell.
    """

    name: str
    pci: str = ""
    usb: str = ""
    scsi: str = ""
    layer: Layer = "disk"
    below: tuple[str, ...] = ()
    label: str = ""
    mounts: tuple[str, ...] = ()
    swap: bool = False
    claimed: bool | None = False
    vms: tuple[str, ...] = ()
    """VMs that have it as a disk."""
    openers: tuple[str, ...] = ()
    """Processes that have it open, by name and number."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """One network interface. `below` are those that it is made of: ports of a bridge, members of a bond, the card of a
    VLAN. `addresses` are those that reach beyond the link.
    """

    name: str
    pci: str = ""
    usb: str = ""
    kind: str = ""
    """bridge, bond, vlan, macvlan, or empty for a card."""
    below: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    default_route: bool = False
    connection: bool = False
    """This very connection comes through it."""
    vms: tuple[str, ...] = ()
    """VMs and libvirt networks that are on it directly."""
    elsewhere: bool = False
    """It is up, and there are other network namespaces with interfaces, which may stand on it unseen."""


@dataclass(frozen=True, kw_only=True)
class System:
    """All of it, by name. `screens` are the addresses of graphics cards that show the host's console."""

    blocks: Mapping[str, Block] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    screens: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    """Network cards with a driver whose interfaces are not to be seen: another network namespace may have them."""
    openers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Processes that have something of a PCI device open, by its address."""
    usb_openers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The same of USB devices, by their ports."""
    scsi_openers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The same of SCSI devices, by their addresses: tapes, changers, and generic devices."""
