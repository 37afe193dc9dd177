"""Mediated devices (mdevs) in a spec: parts that a device of the host is cut into, such as vGPUs.

An entry names a type until it is settled, and from then on the UUID of one: only that has a place in XML.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvmctl.spec.kinds import UUID, Kind
from kvmctl.spec.lenses import find, prune, require

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
MODEL = "vfio-pci"
"""What such a device is to its guest; there are others, of no PCI."""


def is_uuid(text: str) -> bool:
    """Whether this names one mdev, and not a type or an address."""
    try:
        UUID.parse(text)
    except ValueError:
        return False
    return True


def _mdev(text: str) -> str:
    if is_uuid(text):
        return text.lower()
    if not TYPE.fullmatch(text):
        raise ValueError(f"'{text[:80]}' is no type of mdevs; write one that kvmctl pci mdev list shows, or a UUID")
    return text


MDEV = Kind(
    what="a type of mdevs, such as nvidia-35, or the UUID of one",
    schema={"type": "string", "pattern": f"^{TYPE.pattern}$"},
    parse=_mdev,
    load=UUID.load,
)


def named(device: Element) -> str | None:
    """The UUID of a `<hostdev>` that is an mdev of any model; None for all others."""
    node = find(device, ("source", "address")) if device.get("type") == "mdev" else None
    return node.get("uuid", "").lower() if node is not None else None


class Mediated:
    """The UUID below `<source>`, in a `<hostdev>` of that type. A type alone has no place there."""

    steps = ("source", "address")

    def get(self, element: Element) -> str | None:
        uuid = named(element) if element.get("model") == MODEL else None
        return uuid if uuid and is_uuid(uuid) else None

    def put(self, element: Element, value: str | None) -> None:
        if value is None:
            node = require(element, self.steps)
            node.attrib.pop("uuid", None)
            prune(element, self.steps)
        elif is_uuid(value):
            element.attrib.pop("managed", None)
            element.set("type", "mdev")
            element.set("model", MODEL)
            require(element, self.steps).set("uuid", value)


def is_mediated(element: Element) -> bool:
    """A `<hostdev>` that is an mdev, with nothing that such a one cannot have."""
    plain = element.find("boot") is None and element.find("rom") is None
    return plain and element.get("mode") == "subsystem" and Mediated().get(element) is not None


def mediated(domain: Element) -> list[str]:
    """The UUIDs of all mdevs that a domain has, of any model."""
    return [uuid for device in domain.iterfind("devices/hostdev") if (uuid := named(device))]
