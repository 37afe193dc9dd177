"""Which VMs have which devices, disks and interfaces of their host, as their XML says."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host import many
from kvmctl.host.library import libvirt
from kvmctl.host.reading import pci_address
from kvmctl.host.tenants import definition
from kvmctl.plan.pci.facts import Holder
from kvmctl.spec.model import scsi
from kvmctl.spec.model.mdev import mediated
from kvmctl.spec.model.usb import Usb, given

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
HOST_ADDRESS = re.compile(
    r"(?:host|sysfsdev)\W+(?:sys/\S*/)?(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE
)
PORTS = getattr(libvirt.virNetwork, "listAllPorts", None)


@dataclass(frozen=True, kw_only=True)
class Held:
    """`devices` by address, `disks` by the names of block devices, `cards` by the names of interfaces,
    `mdevs` by UUID.
    """

    devices: dict[str, list[Holder]] = field(default_factory=lambda: defaultdict(list))
    disks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cards: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    mdevs: dict[str, list[Holder]] = field(default_factory=lambda: defaultdict(list))
    usb: list[tuple[Usb, Holder]] = field(default_factory=list)
    """What each VM says of each USB device that it has."""
    scsi: list[tuple[scsi.Identity, Holder]] = field(default_factory=list)
    """What is known of each SCSI device that a VM has."""


def held(host: Host) -> Held:
    """Of every VM: a running one as it runs, a stopped one as it would start."""
    domains = host.conn.listAllDomains(0)
    documents = [
        (ElementTree.fromstring(text), domain.ID() >= 0)
        for domain, text in zip(domains, many.ask(domains, definition))
        if text
    ]
    found = Held()
    for xml, running in documents:
        add(found, xml, running=running)
    if any(running for xml, running in documents if xml.find("devices/interface[@type='network']") is not None):
        _from_networks(host, found, {xml.findtext("uuid") or "": xml.findtext("name") or "" for xml, _ in documents})
    return found


def add(found: Held, xml: Element, *, running: bool) -> None:
    """What one domain has."""
    name, uuid = xml.findtext("name") or "", xml.findtext("uuid") or ""
    for address, managed in assigned(xml):
        found.devices[address].append(Holder(vm=name, uuid=uuid, running=running, managed=managed))
    for address in _by_arguments(xml):
        through = "by arguments of its QEMU"
        found.devices[address].append(Holder(vm=name, uuid=uuid, running=running, managed=False, through=through))
    for mdev in mediated(xml):
        found.mdevs[mdev].append(Holder(vm=name, uuid=uuid, running=running, through=f"mdev {mdev}"))
    found.usb.extend((entry, Holder(vm=name, uuid=uuid, running=running)) for _, entry in given(xml))
    for was, shares in scsi.identified(xml):
        found.scsi.append((was, Holder(vm=name, uuid=uuid, running=running, shares=shares)))
    for disk in xml.iterfind("devices/disk[@type='block']/source"):
        found.disks[os.path.basename(os.path.realpath(disk.get("dev", "")))].append(name)
    for card in xml.iterfind("devices/interface[@type='direct']/source"):
        found.cards[card.get("dev", "")].append(name)


def assigned(xml: Element) -> Iterator[tuple[str, bool]]:
    """The PCI devices of the host that a domain has, and whether libvirt manages their drivers."""
    for device in (*xml.iterfind("devices/hostdev"), *xml.iterfind("devices/interface"), *xml.iterfind("devices/disk")):
        address = device.find("source/address[@bus]")
        if address is not None and address.get("slot") is not None:
            source = device.find("source")
            managed = device.get("managed") or (source.get("managed") if source is not None else None)
            yield pci_address(address), managed == "yes"


def names(xml: Element) -> list[str]:
    """All that a domain has, by address, and of mdevs by UUID."""
    return [*(address for address, _ in assigned(xml)), *mediated(xml)]


def _by_arguments(xml: Element) -> Iterator[str]:
    """Devices that are given past libvirt: <qemu:arg value='vfio-pci,host=0000:3b:00.0'/>, or as JSON."""
    for argument in xml.iterfind(f"{QEMU}commandline/{QEMU}arg"):
        value = argument.get("value", "")
        if "vfio" in value:
            for domain, rest in HOST_ADDRESS.findall(value):
                yield f"{domain or '0000'}:{rest}".lower()


def _from_networks(host: Host, found: Held, names: dict[str, str]) -> None:
    """Virtual functions that libvirt has given out by itself, from networks that are made of them."""
    for network in host.conn.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE):
        forward = ElementTree.fromstring(network.XMLDesc(0)).find("forward[@mode='hostdev']")
        if forward is None:
            continue
        for function in forward.iterfind("pf"):
            found.cards[function.get("dev", "")].append(f"the network {network.name()}")
        for port in network.listAllPorts() if PORTS else ():
            xml = ElementTree.fromstring(port.XMLDesc(0))
            address, uuid = xml.find("plug[@type='hostdev-pci']/address"), xml.findtext("owner/uuid") or ""
            if address is not None:
                holder = Holder(vm=names.get(uuid, uuid), uuid=uuid, running=True)
                found.devices[pci_address(address)].append(holder)
