"""The `pci:` list: devices of the host that the guest has for itself, by address or by what they are.

One class is both: an entry of a spec, and what a person says on the command line (`selector`). Which device an entry
without an address means is decided in `plan/pci/choose.py`; here only addresses have a place in XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from kvmctl.spec.declare import beside, group, scalar, through
from kvmctl.spec.kinds import BOOLEAN, LINE, PATH, Kind, choice, integer, pattern
from kvmctl.spec.lenses import Scalar, find, prune, require
from kvmctl.spec.model.mdev import MDEV, Mediated, is_mediated, is_uuid, mediated, named
from kvmctl.spec.model.tuning import AUTO

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ADDRESS = re.compile(r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE)
CLASSES = ("gpu", "nvme", "nic", "storage", "usb", "audio", "accelerator")
PARTS = (("domain", 4), ("bus", 2), ("slot", 2), ("function", 1))
"""Attributes of an `<address>`, and how many digits each has."""
PREFIXES = ("serial", "alias", "vf_of", "mdev")
IDS = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})", re.IGNORECASE)


def in_full(text: str) -> str:
    """`3b:0.0` as Linux writes it, 0000:3b:00.0. Raises ValueError for what is no address."""
    found = ADDRESS.fullmatch(text)
    if found is None or int(found.group(3), 16) > 31:
        raise ValueError(f"'{text[:80]}' is no PCI address; write bus, slot and function, as in 0000:3b:00.0")
    domain, bus, slot, function = (int(part or "0", 16) for part in found.groups())
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"


PCI_ADDRESS = Kind(
    what="a PCI address, such as 0000:3b:00.0",
    schema={"type": "string", "pattern": r"^([0-9a-fA-F]{1,8}:)?[0-9a-fA-F]{1,2}:[01]?[0-9a-fA-F]\.[0-7]$"},
    parse=in_full,
    load=in_full,
)
ID = pattern("a number of four hexadecimal digits", "[0-9a-fA-F]{4}", "10de", lower=True)


class Address:
    """The address below `<source>`, in an element that libvirt is to manage the drivers of."""

    steps: ClassVar = ("source", "address")

    def get(self, element: Element) -> str | None:
        node = find(element, self.steps)
        if node is None or node.get("type", "pci") != "pci" or node.get("bus") is None:
            return None
        try:
            domain, bus, slot, function = (int(node.get(name, "0"), 0) for name, _ in PARTS)
            return in_full(f"{domain:x}:{bus:x}:{slot:x}.{function:x}")
        except ValueError:
            return None

    def put(self, element: Element, value: str | None) -> None:
        node = require(element, self.steps)
        for name, _ in PARTS:
            node.attrib.pop(name, None)
        if value is None:
            prune(element, self.steps)
            return
        if element.tag == "interface":
            node.set("type", "pci")
            if element.get("managed") is None:
                element.set("managed", "yes")
        for (name, digits), part in zip(PARTS, re.split("[:.]", value)):
            node.set(name, f"0x{int(part, 16):0{digits}x}")


class Rom:
    """`<rom file=…/>` or `<rom bar='off'/>`: a path, or false."""

    def get(self, element: Element) -> Any:
        node = element.find("rom")
        if node is None or set(node.attrib) - {"file", "bar"}:
            return None
        return False if node.attrib == {"bar": "off"} else node.get("file") if "bar" not in node.attrib else None

    def put(self, element: Element, value: Any) -> None:
        node = require(element, ("rom",))
        node.attrib.clear()
        if value is False:
            node.set("bar", "off")
        elif value is not None:
            node.set("file", value)
        prune(element, ("rom",))


class Managed(Scalar):
    """Who binds the driver. Of an mdev there is none to bind, whatever libvirt writes there."""

    def get(self, element: Element) -> Any:
        return None if element.get("type") == "mdev" else super().get(element)


def _rom(value: str) -> Any:
    return False if value == "false" else PATH.parse(value)


GUEST_NODE = choice(AUTO, more=integer(0, 255))
ROM = Kind(what="a path, or false", schema={"anyOf": [PATH.schema, {"enum": [False]}]}, parse=_rom)


@group
class Pci:
    """A device of the host, for this VM alone; `device` says in one word which, the other keys say it apart."""

    CONSTANTS: ClassVar = {"mode": "subsystem", "type": "pci", "managed": "yes"}
    SHORTHAND: ClassVar = "device"

    device: str | None = beside(
        LINE,
        "Which one: an address, vendor:product, a class, a network interface, a disk, serial:…, alias:…, vf_of:… or "
        "mdev:….",
        example="0000:3b:00.0",
    )
    address: str | None = through(Address(), PCI_ADDRESS, "Its address on the host.")
    vendor: str | None = beside(ID, "Number of the vendor.", example="10de")
    product: str | None = beside(ID, "Number of the product.")
    class_: str | None = beside(choice(*CLASSES), "What kind of device.", example="gpu")
    name: str | None = beside(LINE, "Its network interface or disk on the host.", example="eth2")
    serial: str | None = beside(LINE, "Its serial number.")
    alias: str | None = beside(LINE, "What the host's entry in config.yaml calls it, under devices:.")
    vf_of: str | None = beside(LINE, "Any free virtual function of this card: an interface or an address.")
    mdev: str | None = through(
        Mediated(),
        MDEV,
        "Part of a device, a vGPU for example: a type of mediated devices, of which a free one is taken or a new one "
        "made, or the UUID of one.",
        example="nvidia-35",
    )
    count: int | None = beside(integer(1, 64), "How many of them; 1 if left out.")
    rom: Any = through(Rom(), ROM, "Its option ROM as a file of the host; false: the guest sees none.")
    boot_order: int | None = scalar("boot/@order", integer(1, 1000), "Place in the boot order, instead of boot:.")
    managed: bool | None = through(
        Managed("@managed", BOOLEAN),
        BOOLEAN,
        "false: you give it to the driver vfio-pci, and back. true if left out.",
    )
    together: bool | None = beside(
        BOOLEAN,
        "true: the functions of one slot of the host that the VM has, a graphics card and its sound for example, are "
        "functions of one slot in the guest too. Those that share the IOMMU group come along, also where this names an "
        "address.",
    )
    guest_node: int | str | None = beside(
        GUEST_NODE,
        "NUMA node of the guest that the device is seen to be near to, by its number in numa.cells; auto: the one "
        "whose memory is on the device's own node of the host, if there is one.",
    )

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not (self.product or any(getattr(self, name) for name in CHOOSING)):
            yield "", "which device is missing", "write an address, as in 0000:3b:00.0, or class: nic"
        if self.device:
            others = [name for name in CHOOSING if name != "device" and getattr(self, name)]
            if others and not self.mdev:
                yield others[0].rstrip("_"), "device and other keys both say which", "write one of the two"
            try:
                selector(self.device)
            except ValueError as problem:
                message, _, hint = str(problem).partition("; ")
                yield "device", message, hint
        if self.product and not self.vendor:
            yield "product", "a product without its vendor may be anything", "write vendor: too"
        yield from self._check_mdev()
        if (self.count or 1) > 1 and (
            self.address or self.serial or self.alias or self.name or is_uuid(self.mdev or "")
        ):
            yield "count", "this names one device, of which there are not several", "leave out count"

    def _check_mdev(self) -> Iterator[tuple[str, str, str]]:
        if self.mdev:
            for name in CHOOSING:
                if name != "mdev" and getattr(self, name):
                    yield name.rstrip("_"), "an mdev is told by its type or UUID alone", "leave this out"
        if self.mdev or _says_mdev(self.device):
            for name in ("rom", "boot_order", "managed", "together", "guest_node"):
                if getattr(self, name) is not None:
                    yield name, f"an mdev has no {name}", "leave it out"


def _says_mdev(word: str | None) -> bool:
    try:
        return bool(word and selector(word).mdev)
    except ValueError:
        return False


def _disk(value: str) -> str:
    """An NVMe device as a person names it; an address is written in full."""
    meant = selector(value)
    if meant.vf_of or meant.mdev or meant.class_ not in (None, "nvme"):
        raise ValueError(f"'{value[:80]}' is no NVMe device; write an address, a serial number, or nvme for any")
    return meant.address or value


CHOSEN_DISK = Kind(
    what="an NVMe device: an address, or what else names it",
    schema={"type": "string", "pattern": r"^[A-Za-z0-9_/][A-Za-z0-9_.:/ -]*$"},
    parse=_disk,
    load=in_full,
)


CHOOSING = ("device", "address", "vendor", "class_", "name", "serial", "alias", "vf_of", "mdev")


def selector(text: str) -> Pci:
    """What a person means by a word. Raises ValueError with a sentence."""
    word = LINE.parse(text)
    for prefix in PREFIXES:
        if word.startswith(f"{prefix}:"):
            rest = word.removeprefix(f"{prefix}:").strip()
            if not rest:
                raise ValueError(f"'{word}' does not say which; write {prefix}:NAME")
            return Pci(**{prefix: MDEV.parse(rest) if prefix == "mdev" else rest})
    if is_uuid(word):
        return Pci(mdev=word.lower())
    if word in CLASSES:
        return Pci(class_=word)
    ids = IDS.fullmatch(word)
    if ids:
        return Pci(vendor=ids.group(1).lower(), product=ids.group(2).lower())
    if ADDRESS.fullmatch(word):
        return Pci(address=in_full(word))
    if re.fullmatch(r"[0-9a-fA-F]{1,8}:[0-9a-fA-F:]*\.?", word):
        raise ValueError(f"'{word}' is no whole PCI address; write bus, slot and function, as in 0000:3b:00.0")
    return Pci(name=word.removeprefix("/dev/"))


def spelled_out(entry: Pci) -> Pci:
    """The entry with what `device` says in its own key."""
    if not entry.device:
        return entry
    meant = selector(entry.device)
    return replace(entry, device=None, **{name: getattr(meant, name) for name in CHOOSING[1:]}, product=meant.product)


def is_assigned(element: Element) -> bool:
    """A `<hostdev>` for a PCI device or an mdev, as libvirt writes it."""
    if is_mediated(element):
        return True
    plain = element.get("type") == "pci" and element.get("mode") == "subsystem"
    return plain and element.get("managed") in ("yes", "no") and bool(Address().get(element))


def is_function(element: Element) -> bool:
    """An `<interface>` that is a virtual function."""
    return element.get("type") == "hostdev" and bool(Address().get(element))


def has_assigned(domain: Element) -> bool:
    """Whether a domain has PCI devices of the host, in any form, or mdevs."""
    return domain.find("devices/*/source/address[@slot]") is not None or bool(mediated(domain))


def name_of(element: Element) -> str | None:
    """The address of the device that an element is for; of an mdev its UUID."""
    return Address().get(element) or named(element)
