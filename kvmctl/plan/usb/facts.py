"""What a plan may know of the USB devices of a host. Facts only, filled by `host/usb/`.

A device is called by its port, as Linux does: `1-1.4` is what is plugged into the fourth port of the hub on the first
port of bus 1. Its number on the bus is another each time it is plugged in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.pci.facts import Holder, Need

HUB, INPUT = 0x09, 0x03
"""Classes of the USB specification: https://www.usb.org/defined-class-codes"""

NETWORK_DRIVERS = frozenset(
    (
        *("asix", "aqc111", "ax88179_178a", "cdc_ether", "cdc_ncm", "cdc_mbim", "cdc_eem", "dm9601", "ipheth"),
        *("lan78xx", "mcs7830", "pegasus", "qmi_wwan", "r8152", "r8153_ecm", "rndis_host", "rtl8150", "smsc75xx"),
        *("smsc95xx", "sr9700"),
    )
)
"""Drivers of network cards: each has an interface in some network namespace."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One USB device of a host; vendor and product are four hexadecimal digits, as lsusb writes them.

    `classes` are those of the device and its interfaces, `drivers` the host's that have one of these. `usable` tells
    whether the QEMUs of this host have the right to it; None if it is not known.
    """

    port: str
    bus: int
    number: int
    vendor: str
    product: str
    vendor_name: str = ""
    product_name: str = ""
    serial: str = ""
    classes: frozenset[int] = frozenset()
    drivers: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    usable: bool | None = None

    @property
    def ids(self) -> str:
        return f"{self.vendor}:{self.product}"

    @property
    def place(self) -> str:
        """Bus and number, which is how libvirt and lsusb tell alike ones apart."""
        return f"{self.bus}:{self.number}"

    @property
    def is_hub(self) -> bool:
        return HUB in self.classes or "-" not in self.port

    @property
    def hides_interface(self) -> bool:
        """Whether it is a network card whose interface is not to be seen."""
        return bool(NETWORK_DRIVERS & {*self.drivers}) and not self.interfaces

    @property
    def is_input(self) -> bool:
        """Whether it is a keyboard, a mouse or the like, with which the host works."""
        return INPUT in self.classes and "usbhid" in self.drivers


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All USB devices of a host by port, who has them, and what the host needs of them."""

    host: str
    devices: Mapping[str, Device]
    needs: Mapping[str, tuple[Need, ...]] = field(default_factory=dict)
    holders: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """What could not be seen, and what follows from that: a sentence each."""

    def alike(self, device: Device) -> tuple[Device, ...]:
        """Those of its vendor and product, itself among them, by port."""
        return tuple(self.devices[port] for port in sorted(self.devices) if self.devices[port].ids == device.ids)
