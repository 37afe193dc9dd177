"""PCI devices of a host as libvirt's node device driver tells them, and where one of them is. Changes nothing.

Only what a VM is placed near to counts: network, storage, graphics, accelerators; not bridges and what belongs to the
board. The embedded host has no such driver.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.errors import NotFound, Refused
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.pci import nodes
from kvmctl.plan.topology import Device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host

ADDRESS = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)
NODE_DEVICE = re.compile(r"pci_([0-9a-f]{4,8})_([0-9a-f]{2})_([0-9a-f]{2})_([0-7])")
INTERFACE = re.compile(r"net_(.+?)(?:_[0-9a-f]{2}){6,}")

KINDS = {0x01: "storage", 0x02: "network", 0x03: "GPU", 0x10: "encryption", 0x12: "accelerator"}
"""Words for the base classes of the PCI Code and ID Assignment that count."""
SPECIAL_KINDS = {0x0106: "SATA", 0x0107: "SAS", 0x0108: "NVMe", 0x0207: "InfiniBand", 0x0B40: "accelerator"}
"""Better words for a base class together with its sub-class."""


def devices(host: Host) -> tuple[Device, ...]:
    """The devices of the host by address; none where it has no driver to tell them."""
    return devices_of(nodes.described(host, nodes.PCI | nodes.NET) or {})


def devices_of(described: Mapping[str, Element]) -> tuple[Device, ...]:
    """The PCI devices among these node devices, with the network interfaces that belong to each. Pure."""
    found = sorted(nodes.devices_of(described).values(), key=lambda device: device.address)
    return tuple(
        Device(
            address=device.address,
            node=device.numa_node,
            what=kind(device.class_code),
            product=device.product_name,
            virtual=bool(device.physical_function),
            interfaces=device.interfaces,
        )
        for device in found
        if kind(device.class_code)
    )


def kind(code: int) -> str:
    """What a PCI class, a number of 24 bits, is in a word; nothing for bridges and the like."""
    return SPECIAL_KINDS.get(code >> 8) or KINDS.get(code >> 16, "")


def device_node(host: Host, what: str) -> tuple[str, int | None]:
    """The address and the node of a PCI device, named by its address or by a network interface that belongs to it.

    The node is None where the host does not tell: it has but one, or its firmware says nothing.
    """
    with translated(doing="look for the device", host=host.name):
        try:
            element = _by_address(host, what) if ADDRESS.fullmatch(what) else _by_interface(host, what)
        except libvirt.libvirtError as problem:
            if problem.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
            raise Refused(
                "not-supported",
                f"{host.name} has no node device driver, which knows where {what} is",
                hint="name the nodes instead, in numa.nodes; or use a libvirt daemon: -H qemu:///system",
            ) from problem
    capability = element.find("capability[@type='pci']")
    if capability is None:
        raise NotFound("device-not-found", f"{what} belongs to no PCI device of {host.name}", hint=_how(host))
    numa = capability.find("numa")
    return nodes.address_of(capability), None if numa is None else int(numa.get("node", "0"))


def _by_address(host: Host, address: str) -> Element:
    known = ADDRESS.fullmatch(address)
    assert known is not None
    domain, bus, slot, function = (int(part or "0", 16) for part in known.groups())
    try:
        found = host.conn.nodeDeviceLookupByName(f"pci_{domain:04x}_{bus:02x}_{slot:02x}_{function}")
    except libvirt.libvirtError as problem:
        if problem.get_error_code() != libvirt.VIR_ERR_NO_NODE_DEVICE:
            raise
        names = [NODE_DEVICE.sub(r"\1:\2:\3.\4", device.name()) for device in host.conn.listAllDevices(nodes.PCI)]
        full = f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"
        raise NotFound(
            "device-not-found", f"{host.name} has no PCI device {full}", hint=_near(full, names) or _how(host)
        ) from None
    return ElementTree.fromstring(found.XMLDesc(0))


def _by_interface(host: Host, interface: str) -> Element:
    """What the interface belongs to, upwards to a PCI device if there is one."""
    # libvirt's name of a device holds that of the interface, but for letters that it does not like.
    names: dict[str, list[libvirt.virNodeDevice]] = {}
    for device in host.conn.listAllDevices(nodes.NET):
        names.setdefault(INTERFACE.sub(r"\1", device.name()), []).append(device)
    near = get_close_matches(re.sub("[^0-9A-Za-z]", "_", interface), names, 1)
    there = [ElementTree.fromstring(device.XMLDesc(0)) for name in near for device in names[name]]
    found = {element.findtext("capability/interface") or "": element for element in there}
    if interface not in found:
        message = f"{host.name} has no PCI device and no network interface '{interface}'"
        raise NotFound("device-not-found", message, hint=_near(interface, [*found]) or _how(host))
    element = found[interface]
    while element.find("capability[@type='pci']") is None:
        parent = element.findtext("parent")
        if parent in (None, "computer"):
            break
        element = ElementTree.fromstring(host.conn.nodeDeviceLookupByName(parent).XMLDesc(0))
    return element


def _near(what: str, names: Sequence[str]) -> str:
    near = get_close_matches(what, names, 1)
    return f"did you mean '{near[0]}'?" if near else ""


def _how(host: Host) -> str:
    return f"kvmctl host topology -H {host.name} shows the devices with their nodes"
