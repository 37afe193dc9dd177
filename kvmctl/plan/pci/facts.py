"""What a plan may know of the devices of a host, and of who needs or has them. Facts only, filled by `host/pci/`.

Addresses are written in full, in lower case: `0000:3b:00.0`. Vendor, product and class numbers are those of the PCI
Code and ID Assignment Specification; vendors and products are four hexadecimal digits, as lspci writes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

BRIDGE = 0x06
"""The base class of bridges, of which those to other buses belong to the host alone."""


@dataclass(frozen=True, kw_only=True)
class MdevType:
    """A type of mediated device that a device can be cut into; `free` is how many more there can be."""

    id: str
    name: str = ""
    free: int = 0


@dataclass(frozen=True, kw_only=True)
class Mdev:
    """A mediated device: a part of a device, for one VM. `parent` is that device's address.

    `active`: it is there. `defined`: libvirt keeps how it is made; with `autostart` it is made at each boot.
    """

    uuid: str
    type: str
    parent: str
    active: bool = True
    defined: bool = False
    autostart: bool = False


@dataclass(frozen=True, kw_only=True)
class Device:
    """One PCI device of a host.

    `class_code` has 24 bits: base class, sub-class and programming interface. `group` is its IOMMU group; None where
    there is no IOMMU, or none that is used. `parent` is the bridge above it, empty at a root. `resets` are the ways the
    kernel can reset it alone; None where that is not known, as over a remote connection. `boot_vga` tells whether the
    firmware's screen is on it, `rom` whether it has an option ROM.
    """

    address: str
    class_code: int
    vendor: str
    product: str
    vendor_name: str = ""
    product_name: str = ""
    driver: str = ""
    group: int | None = None
    numa_node: int | None = None
    parent: str = ""
    physical_function: str = ""
    """The PF that a virtual function belongs to; empty for all others."""
    virtual_functions: tuple[str, ...] = ()
    most_virtual_functions: int = 0
    mdev_types: tuple[MdevType, ...] = ()
    interfaces: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    serial: str = ""
    resets: tuple[str, ...] | None = None
    boot_vga: bool | None = None
    rom: bool | None = None
    link_up: bool | None = None
    """Of a network card whether its interface is up, which a PF must be for its VFs to work; None if not known."""
    unreachable: bool = False
    """Its configuration space reads as nothing but ones: it was pulled out, or hangs."""

    @property
    def base_class(self) -> int:
        return self.class_code >> 16

    @property
    def is_bridge(self) -> bool:
        """Whether buses are behind it: such a device can never be assigned, and its group does not mind it."""
        return self.class_code >> 8 in (0x0600, 0x0604, 0x0609)

    @property
    def slot(self) -> str:
        """The address without the function."""
        return self.address.rpartition(".")[0]

    @property
    def bus(self) -> str:
        """The address without slot and function."""
        return self.address.rpartition(":")[0]


@dataclass(frozen=True, kw_only=True)
class Need:
    """Why the host cannot do without a device. `sentence` stands behind a colon.

    `code` is stable: connection, mounted, swap, route, address, screen, raid, lvm, crypt, multipath, block, claimed,
    vm-disk, process, bridge, bond, vm-network, hidden, and unseen where nobody could look.
    """

    code: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A VM that a device, or an mdev, is assigned to. `managed`: libvirt binds the device to vfio-pci, and back.

    `through` says how, where it is not as a whole PCI device: an mdev for one. `shares`: with others who say so too.
    """

    vm: str
    uuid: str
    running: bool
    managed: bool = True
    through: str = ""
    shares: bool = False


@dataclass(frozen=True, kw_only=True)
class Iommu:
    """What the host has for assigning devices safely. None everywhere means that it is not known.

    `no_iommu`: vfio's unsafe mode is switched on. `locked_memory` is the limit of what libvirt's QEMUs may lock, in
    bytes, if there is one that libvirt does not raise by itself. `kernel` is the kernel's command line. `firmware`
    tells whether the firmware speaks of an IOMMU, used or not; `privileged` whether libvirt may bind devices.
    """

    enabled: bool | None = None
    interrupt_remapping: bool | None = None
    unsafe_interrupts: bool | None = None
    no_iommu: bool | None = None
    vfio: bool | None = None
    """Whether vfio-pci is there, loaded or as a module."""
    locked_memory: int | None = None
    firmware: bool | None = None
    privileged: bool | None = None
    kernel: str = ""
    processor: str = ""
    """`intel`, `amd`, or empty."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All PCI devices of a host, who has them, and what the host needs of them.

    `local` tells whether the host's own eyes were used: mounts, routes and sysfs. Where it is false, whatever carries a
    block device or a network interface that may have an address is among `needs`. `holders` are told by address, and
    those of an mdev by its UUID, and by the address of its parent as well.
    """

    host: str
    devices: Mapping[str, Device]
    needs: Mapping[str, tuple[Need, ...]] = field(default_factory=dict)
    holders: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    iommu: Iommu = field(default_factory=Iommu)
    mdevs: Mapping[str, Mdev] = field(default_factory=dict)
    """By UUID."""
    local: bool = True
    missing: tuple[str, ...] = ()
    """What could not be seen, and what follows from that: a sentence each."""

    @cached_property
    def groups(self) -> Mapping[int, tuple[Device, ...]]:
        """The members of each IOMMU group, by address."""
        found: dict[int, list[Device]] = {}
        for address in sorted(self.devices):
            device = self.devices[address]
            if device.group is not None:
                found.setdefault(device.group, []).append(device)
        return {group: tuple(members) for group, members in found.items()}

    @cached_property
    def buses(self) -> Mapping[str, int]:
        """How many devices are on each bus."""
        return Counter(device.bus for device in self.devices.values())

    def companions(self, address: str) -> tuple[Device, ...]:
        """The other devices of its IOMMU group that must go along with it: bridges do not count."""
        device = self.devices[address]
        members = () if device.group is None else self.groups[device.group]
        return tuple(member for member in members if member.address != address and not member.is_bridge)
