"""What libvirt's node device driver says of SCSI devices and of what hangs on them. Pure.

libvirt sees no mounts or swap: what is not known then counts as needed by the host, see `unseen`. Of a disk it tells
the serial number as udev makes it: of its WWN, or of vendor, model and serial number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from kvmctl.host.library import libvirt
from kvmctl.host.pci.nodes import STORAGE
from kvmctl.host.pci.sysfs import last_unit
from kvmctl.plan.pci.facts import Need
from kvmctl.plan.scsi.facts import KINDS as WORDS
from kvmctl.plan.scsi.facts import Device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

SCSI = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI
GENERIC = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_GENERIC
KINDS = SCSI | GENERIC | STORAGE
TYPES = {
    "disk": 0x00,
    "tape": 0x01,
    "printer": 0x02,
    "processor": 0x03,
    "worm": 0x04,
    "cdrom": 0x05,
    "scanner": 0x06,
    "mod": 0x07,
    "changer": 0x08,
    "raid": 0x0C,
    "enclosure": 0x0D,
    "rbc": 0x0E,
    "osd": 0x11,
}
"""libvirt's words for the peripheral device types."""
NAMED = re.compile("[23]([0-9a-f]{16}|[0-9a-f]{32})")
"""How udev writes an EUI-64 or a NAA name, by the type of the identifier and its digits."""


def devices_of(elements: Mapping[str, Element]) -> dict[str, Device]:
    """The SCSI devices among these by address, with the disk that each is."""
    homes = {
        name: ":".join(capability.findtext(part) or "0" for part in ("host", "bus", "target", "lun"))
        for name, element in elements.items()
        if (capability := element.find("capability[@type='scsi']")) is not None
    }
    disks: dict[str, Element] = {}
    nodes: dict[str, list[str]] = defaultdict(list)
    for element in elements.values():
        address = homes.get(element.findtext("parent") or "", "") or last_unit(_path(element))
        disk = element.find("capability[@type='storage']")
        node = element.findtext("capability[@type='scsi_generic']/char") if disk is None else disk.findtext("block")
        if address and node:
            nodes[address].append(node.removeprefix("/dev/"))
            if disk is not None:
                disks[address] = disk
    return {
        address: _device(address, elements[name], disks.get(address), tuple(sorted(nodes[address])))
        for name, address in homes.items()
    }


def unseen(devices: Mapping[str, Device]) -> dict[str, tuple[Need, ...]]:
    """What may be needed for all that can be seen from elsewhere: better refused in vain than given away."""
    return {
        address: (
            Need(code="unseen", sentence=f"it is {device.block}, and what for is only to be seen on the host itself"),
        )
        for address, device in devices.items()
        if device.block
    }


def _device(address: str, element: Element, disk: Element | None, nodes: tuple[str, ...]) -> Device:
    kind = WORDS.get(TYPES.get(element.findtext("capability/type") or "", -1), "other")
    if disk is None:
        return Device(address=address, kind=kind, nodes=nodes)
    vendor, model, told = (disk.findtext(name) or "" for name in ("vendor", "model", "serial"))
    size = disk.findtext("size") or disk.findtext("capability/media_size") or ""
    name = NAMED.fullmatch(told)
    wwn = f"0x{name.group(1)}" if name else ""
    links = [f"{disk.findtext('bus') or 'scsi'}-{told}"] if told else []
    links += [f"wwn-{wwn}"] if wwn else []
    return Device(
        address=address,
        kind=kind,
        vendor=vendor,
        model=model,
        serial="" if wwn else _bare(told, vendor, model),
        wwn=wwn,
        block=(disk.findtext("block") or "").removeprefix("/dev/"),
        size=int(size) if size.isdecimal() else None,
        nodes=nodes,
        links=tuple(f"/dev/disk/by-id/{link}" for link in links),
    )


def _bare(told: str, vendor: str, model: str) -> str:
    """The serial number without vendor and model, between which udev writes underlines for spaces."""
    names = ("_".join((*vendor.split(), *model.split())), "_".join(model.split()))
    start = next((name for name in names if name and re.match(f"[0-9A-Z]?{re.escape(name)}_", told)), "")
    return told.partition(f"{start}_")[2] if start else told


def _path(element: Element) -> list[str]:
    return (element.findtext("path") or "").split("/")
