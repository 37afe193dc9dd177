"""What libvirt's node device driver says of PCI devices and of what hangs on them. Pure, but for asking them all.

libvirt sees no mounts, routes or addresses: what is not known then counts as needed by the host, see `unseen`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host import many
from kvmctl.host.connection import or_nothing
from kvmctl.host.library import libvirt
from kvmctl.host.pci.sysfs import ADDRESS
from kvmctl.host.reading import pci_address
from kvmctl.plan.pci.facts import Device, Mdev, MdevType, Need
from kvmctl.plan.pci.hindrances import is_bound
from kvmctl.plan.pci.needs import carried

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host

PCI = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
NET = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET
MDEV = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV
STORAGE = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE
NETWORK, NVME, VGA = 0x02, 0x0108, 0x0300
States = tuple[bool, bool, bool]
"""Whether a mediated device is active, defined, and made at each boot."""


def described(host: Host, kinds: int) -> dict[str, Element] | None:
    """The node devices of these kinds by libvirt's names; None where the host has no driver to tell them."""
    try:
        found = host.conn.listAllDevices(kinds)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return None
        raise
    texts = many.ask(found, partial(many.document, gone=libvirt.VIR_ERR_NO_NODE_DEVICE))
    elements = [ElementTree.fromstring(text) for text in texts if text]
    return {element.findtext("name") or "": element for element in elements}


def devices_of(elements: Mapping[str, Element]) -> dict[str, Device]:
    """The PCI devices among these by address, with the interfaces and disks that belong to each."""
    cards: dict[str, list[str]] = defaultdict(list)
    disks: dict[str, list[str]] = defaultdict(list)
    serials: dict[str, list[str]] = defaultdict(list)
    homes = {
        name: address_of(element.find("capability[@type='pci']"))
        for name, element in elements.items()
        if element.find("capability[@type='pci']") is not None
    }
    up: set[str] = set()
    for element in elements.values():
        address = _carrier(element, homes)
        card, disk = element.find("capability[@type='net']"), element.find("capability[@type='storage']")
        if card is not None and address:
            cards[address].append(card.findtext("interface") or "")
            link = card.find("link")
            if link is None or link.get("state") != "down":
                up.add(address)
        elif disk is not None and address:
            disks[address].append((disk.findtext("block") or "").removeprefix("/dev/"))
            serials[address].append(disk.findtext("serial") or "")
    found: dict[str, Device] = {}
    for name, element in elements.items():
        if name in homes:
            address = homes[name]
            found[address] = _device(
                element,
                parent=homes.get(element.findtext("parent") or "", ""),
                interfaces=tuple(sorted(cards.get(address, ()))),
                blocks=tuple(sorted(disks.get(address, ()))),
                serial=serials[address][0] if len(serials.get(address, ())) == 1 else "",
                # A link that is down may just have no cable; of a virtual function it is that nobody uses it.
                link_up=True if address in up else False if address in cards and _is_virtual(element) else None,
            )
    return found


def mdevs(host: Host, elements: Mapping[str, Element]) -> dict[str, Mdev]:
    """The mediated devices by UUID, those too that are defined and not there now. Asks only where there are any."""
    if not any(element.find("capability[@type='mdev']") is not None for element in elements.values()):
        return {}
    found = host.conn.listAllDevices(MDEV)
    return mdevs_of(elements, dict(zip((device.name() for device in found), many.ask(found, _states))))


def mdevs_of(elements: Mapping[str, Element], states: Mapping[str, States]) -> dict[str, Mdev]:
    """The mediated devices among these by UUID. One of which no state is told went meanwhile."""
    found: dict[str, Mdev] = {}
    for name, element in elements.items():
        capability = element.find("capability[@type='mdev']")
        if capability is None or name not in states:
            continue
        above = element.findtext("parent") or ""
        kind, device = capability.find("type"), elements.get(above)
        address = address_of(device.find("capability[@type='pci']")) if device is not None else ""
        active, defined, autostart = states[name]
        uuid = (capability.findtext("uuid") or uuid_of(name)).lower()
        found[uuid] = Mdev(
            uuid=uuid,
            type=(kind.get("id") if kind is not None else None) or "",
            parent=address or capability.findtext("parent_addr") or above,
            active=active,
            defined=defined,
            autostart=autostart,
        )
    return found


def uuid_of(name: str) -> str:
    """The UUID in libvirt's name of a mediated device, which may have its parent's address after it."""
    return name.removeprefix("mdev_")[:36].replace("_", "-").lower()


def name_of(address: str) -> str:
    """libvirt's name of a PCI device."""
    return f"pci_{address.replace(':', '_').replace('.', '_')}"


def _states(device: libvirt.virNodeDevice) -> States:
    """Of a daemon that does not tell, all devices are there and none is defined."""
    return (
        or_nothing(lambda: bool(device.isActive()), True),
        or_nothing(lambda: bool(device.isPersistent()), False),
        or_nothing(lambda: bool(device.autostart()), False),
    )


def unseen(devices: Mapping[str, Device]) -> dict[str, tuple[Need, ...]]:
    """What may be needed for all that can be seen from elsewhere: better refused in vain than given away."""
    found: dict[str, tuple[Need, ...]] = {}
    for address, device in devices.items():
        what = ""
        if device.blocks:
            what = f"it carries {', '.join(device.blocks)}"
        elif device.interfaces and (device.link_up or not device.physical_function):
            what = f"it carries {', '.join(device.interfaces)}"
        elif is_bound(device) and not device.interfaces and _may_carry(device):
            what = f"its driver {device.driver} may use it"
        elif is_bound(device) and device.class_code >> 8 == VGA:
            what = "it may show the host's console"
        if what:
            sentence = f"{what}, and what for is only to be seen on the host itself"
            found[address] = (Need(code="unseen", sentence=sentence),)
    return carried(found, devices)


def _may_carry(device: Device) -> bool:
    """Whether it is of a kind that carries interfaces or disks, of which libvirt shows none."""
    return device.base_class == NETWORK or device.class_code >> 8 == NVME


def address_of(capability: Element | None) -> str:
    """The address that a `<capability type='pci'>` or an `<address>` tells."""
    if capability is None:
        return ""
    parts = ("domain", "bus", "slot", "function")
    values = {name: str(capability.findtext(name) or capability.get(name) or "0") for name in parts}
    return pci_address(ElementTree.Element("address", values))


def _carrier(element: Element, homes: Mapping[str, str]) -> str:
    """The PCI device that it hangs on: its path has it, or its parent is it."""
    parts = [part for part in (element.findtext("path") or "").split("/") if ADDRESS.fullmatch(part)]
    return parts[-1] if parts else homes.get(element.findtext("parent") or "", "")


def _device(element: Element, **more: object) -> Device:
    capability = element.find("capability[@type='pci']")
    assert capability is not None
    functions = capability.find("capability[@type='virt_functions']")
    physical = capability.find("capability[@type='phys_function']/address")
    group, numa = capability.find("iommuGroup"), capability.find("numa")
    return Device(
        address=address_of(capability),
        class_code=int(capability.findtext("class") or "0", 16),
        vendor=number(capability.find("vendor")),
        product=number(capability.find("product")),
        vendor_name=capability.findtext("vendor") or "",
        product_name=capability.findtext("product") or "",
        driver=element.findtext("driver/name") or "",
        group=None if group is None else int(group.get("number", "0")),
        numa_node=None if numa is None else int(numa.get("node", "0")),
        physical_function=address_of(physical),
        virtual_functions=tuple(map(address_of, functions.iterfind("address"))) if functions is not None else (),
        most_virtual_functions=int(functions.get("maxCount", "0")) if functions is not None else 0,
        mdev_types=tuple(_mdev_types(capability)),
        **more,  # type: ignore[arg-type]
    )


def _is_virtual(element: Element) -> bool:
    return element.find("capability[@type='pci']/capability[@type='phys_function']") is not None


def number(element: Element | None) -> str:
    return f"{int(element.get('id', '0'), 16):04x}" if element is not None else "0000"


def _mdev_types(capability: Element) -> Iterator[MdevType]:
    for kind in capability.iterfind("capability[@type='mdev_types']/type"):
        free = kind.findtext("availableInstances") or "0"
        yield MdevType(id=kind.get("id", ""), name=kind.findtext("name") or "", free=int(free))
