"""What libvirt's node device driver says of USB devices and of what hangs on them. Pure.

libvirt sees no mounts, routes or addresses: what is not known then counts as needed by the host, see `unseen`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kvmctl.host.library import libvirt
from kvmctl.host.pci.nodes import NET, STORAGE, number
from kvmctl.host.pci.sysfs import last_port
from kvmctl.plan.pci.facts import Need
from kvmctl.plan.usb.facts import Device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

USB = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV
KINDS = USB | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_INTERFACE | NET | STORAGE


def devices_of(elements: Mapping[str, Element]) -> dict[str, Device]:
    """The USB devices among these by port, with the interfaces and disks that belong to each."""
    classes: dict[str, set[int]] = defaultdict(set)
    drivers: dict[str, set[str]] = defaultdict(set)
    cards: dict[str, list[str]] = defaultdict(list)
    disks: dict[str, list[str]] = defaultdict(list)
    for element in elements.values():
        port, capability = _port(element), element.find("capability")
        kind = "" if capability is None else capability.get("type")
        if kind == "usb" and capability is not None:
            classes[port].add(int(capability.findtext("class") or "0"))
            drivers[port].add(element.findtext("driver/name") or "")
        elif kind == "net":
            cards[port].append(element.findtext("capability/interface") or "")
        elif kind == "storage":
            disks[port].append((element.findtext("capability/block") or "").removeprefix("/dev/"))
    found: dict[str, Device] = {}
    for element in elements.values():
        capability = element.find("capability[@type='usb_device']")
        if capability is None:
            continue
        port = _port(element)
        found[port] = Device(
            port=port,
            bus=int(capability.findtext("bus") or "0"),
            number=int(capability.findtext("device") or "0"),
            vendor=number(capability.find("vendor")),
            product=number(capability.find("product")),
            vendor_name=capability.findtext("vendor") or "",
            product_name=capability.findtext("product") or "",
            classes=frozenset(classes[port]),
            drivers=tuple(sorted(drivers[port] - {""})),
            interfaces=tuple(sorted(cards[port])),
            blocks=tuple(sorted(disks[port])),
        )
    return found


def unseen(devices: Mapping[str, Device]) -> dict[str, tuple[Need, ...]]:
    """What may be needed for all that can be seen from elsewhere: better refused in vain than given away."""
    found: dict[str, tuple[Need, ...]] = {}
    for port, device in devices.items():
        names = ", ".join((*device.blocks, *device.interfaces))
        if names or device.hides_interface:
            sentence = (
                f"it carries {names or 'a network interface'}, and what for is only to be seen on the host itself"
            )
            found[port] = (Need(code="unseen", sentence=sentence),)
    return found


def _port(element: Element) -> str:
    """The port of a device, or of the one that something hangs on: its path has it, or else its name."""
    path = element.findtext("path")
    if path:
        return last_port(path.split("/"))
    first, *rest = (element.findtext("name") or "").removeprefix("usb_").split("_")
    return f"{first}-{'.'.join(rest)}" if rest else first
