"""The `usb:` list: USB devices of the host that the guest has for itself.

One class is both: an entry of a spec, and what a person says on the command line (`selector`). A port has no place in
XML: what is plugged in there is decided in `plan/usb/choose.py` when a VM gets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from kvmctl.spec.declare import beside, group, read, scalar
from kvmctl.spec.kinds import Kind, choice, integer, pattern
from kvmctl.spec.model.pci import ID, IDS

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def _number(text: str) -> str:
    """As libvirt writes it, with 0x."""
    return ID.parse(text.removeprefix("0x"))  # type: ignore[no-any-return]


NUMBER = replace(ID, load=_number, dump=lambda value: f"0x{value}")
PORTS = r"[1-9][0-9]{0,2}-[1-9][0-9]{0,2}(\.[1-9][0-9]{0,2}){0,5}"
PORT = pattern("a port of a USB bus", PORTS, "1-1.4")
PLACE = re.compile(r"0{0,2}([1-9][0-9]{0,2}):0{0,2}([1-9][0-9]{0,2})")
"""Bus and device, as lsusb writes them too: 003:007."""


def is_port(text: str) -> bool:
    try:
        return bool(PORT.parse(text))
    except ValueError:
        return False


def _word(text: str) -> str:
    """A word that says which device, in its one form."""
    place = PLACE.fullmatch(text)
    if IDS.fullmatch(text):
        return text.lower()
    if place:
        return f"{place.group(1)}:{place.group(2)}"
    if not is_port(text):
        raise ValueError(
            f"'{text[:80]}' is no USB device; write vendor and product (046d:c52b), bus and device (3:7) or a port "
            "(1-1.4): lsusb and lsusb -t show them"
        )
    return text


WHICH = Kind(
    what="a USB device: 046d:c52b, 3:7 or 1-1.4",
    schema={
        "type": "string",
        "pattern": f"^([0-9a-fA-F]{{4}}:[0-9a-fA-F]{{4}}|{PLACE.pattern}|{PORTS})$",
    },
    parse=_word,
)


@group
class Usb:
    """A USB device of the host; `which` says in one word which, the other keys say it apart.

    Vendor and product, or bus and device, or all four where several are alike; or the port that it is plugged into.
    """

    CONSTANTS: ClassVar = {"mode": "subsystem", "type": "usb", "managed": "yes"}
    SHORTHAND: ClassVar = "which"

    which: str | None = beside(
        WHICH, "Which one: vendor:product, bus:device or a port, as lsusb shows them.", example='"046d:c52b"'
    )
    vendor: str | None = scalar("source/vendor/@id", NUMBER, "Number of the vendor.", example="046d")
    product: str | None = scalar("source/product/@id", NUMBER, "Number of the product.", example="c52b")
    bus: int | None = scalar("source/address/@bus", integer(1, 999), "Bus of the host; lsusb shows it.")
    device: int | None = scalar(
        "source/address/@device", integer(1, 999), "Number on that bus; another each time it is plugged in."
    )
    port: str | None = beside(
        PORT, "Where it is plugged in, as lsusb -t shows; looked up when the VM is made.", example="1-1.4"
    )
    missing: str | None = scalar(
        "source/@startupPolicy",
        choice("mandatory", "requisite", "optional"),
        "What if it is not there: mandatory refuses the start, optional starts without it. mandatory if left out.",
    )
    boot_order: int | None = scalar("boot/@order", integer(1, 1000), "Place in the boot order, instead of boot:.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        for one, other in (("vendor", "product"), ("product", "vendor"), ("bus", "device"), ("device", "bus")):
            if getattr(self, one) and not getattr(self, other):
                yield one, f"{one} alone does not say which", f"write {other}: too"
        for whole in ("which", "port"):
            if getattr(self, whole):
                others = [name for name in CHOOSING if name != whole and getattr(self, name)]
                for name in others[:1]:
                    yield name, f"{whole} and other keys both say which", "write one of the two"
                return
        if not any(getattr(self, name) for name in CHOOSING):
            yield "", "which device is missing", "write vendor: 046d and product: c52b, as lsusb shows them"


CHOOSING = ("which", "port", "vendor", "product", "bus", "device")


def selector(text: str) -> Usb:
    """What a person means by a word. Raises ValueError with a sentence."""
    word = _word(text)
    one, colon, other = word.partition(":")
    if not colon:
        return Usb(port=word)
    if IDS.fullmatch(word):
        return Usb(vendor=one, product=other)
    return Usb(bus=int(one), device=int(other))


def spelled_out(entry: Usb) -> Usb:
    """The entry with what `which` says in its own keys."""
    if not entry.which:
        return entry
    meant = selector(entry.which)
    return replace(entry, which=None, **{name: getattr(meant, name) for name in CHOOSING[1:]})


def said(entry: Usb) -> str:
    """Which one, in a word or two."""
    entry = spelled_out(entry)
    words = [entry.port or "", f"{entry.vendor}:{entry.product}" if entry.vendor else ""]
    return " ".join(filter(None, [*words, f"{entry.bus}:{entry.device}" if entry.bus else ""]))


def is_usb(element: Element) -> bool:
    """A `<hostdev>` for a USB device that these keys tell in full."""
    if element.get("type") != "usb" or element.get("mode") != "subsystem":
        return False
    return not list(read(Usb, element).check())


def given(domain: Element) -> Iterator[tuple[Element, Usb]]:
    """The USB devices of the host that a domain has; not those that were not there when it started."""
    for element in domain.iterfind("devices/hostdev[@type='usb']"):
        source = element.find("source")
        if is_usb(element) and source is not None and source.get("missing") != "yes":
            yield element, read(Usb, element)
