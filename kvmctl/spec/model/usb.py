"""The `usb:` list: USB devices of the host, by what they are or by where they are plugged in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from kvmctl.spec.declare import group, read, scalar
from kvmctl.spec.kinds import choice, integer
from kvmctl.spec.model.pci import ID

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def _number(text: str) -> str:
    """As libvirt writes it, with 0x."""
    return ID.parse(text.removeprefix("0x"))  # type: ignore[no-any-return]


NUMBER = replace(ID, load=_number, dump=lambda value: f"0x{value}")


@group
class Usb:
    """A USB device of the host: vendor and product, or bus and device, or all four where several are alike."""

    CONSTANTS: ClassVar = {"mode": "subsystem", "type": "usb", "managed": "yes"}

    vendor: str | None = scalar("source/vendor/@id", NUMBER, "Number of the vendor.", example="046d")
    product: str | None = scalar("source/product/@id", NUMBER, "Number of the product.", example="c52b")
    bus: int | None = scalar("source/address/@bus", integer(1, 999), "Bus of the host; lsusb shows it.")
    device: int | None = scalar(
        "source/address/@device", integer(1, 999), "Number on that bus; another each time it is plugged in."
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
        if not self.vendor and not self.product and not self.bus and not self.device:
            yield "", "which device is missing", "write vendor: 046d and product: c52b, as lsusb shows them"


def is_usb(element: Element) -> bool:
    """A `<hostdev>` for a USB device that these keys tell in full."""
    if element.get("type") != "usb" or element.get("mode") != "subsystem":
        return False
    return not list(read(Usb, element).check())
