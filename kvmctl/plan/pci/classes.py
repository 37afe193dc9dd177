"""What kind of device a PCI class is: the words that people choose devices by, and those that tables show. Pure.

The numbers are those of the PCI Code and ID Assignment Specification.
"""

from __future__ import annotations

SELECTABLE: dict[str, tuple[int, ...]] = {
    "gpu": (0x03,),
    "nvme": (0x0108,),
    "nic": (0x02,),
    "storage": (0x01,),
    "usb": (0x0C03,),
    "audio": (0x0401, 0x0403),
    "accelerator": (0x12, 0x0B40),
}
"""Words, with the base classes (of one byte) or sub-classes (of two) that they stand for."""

_NAMES = {
    0x0106: "SATA",
    0x0107: "SAS",
    0x0108: "NVMe",
    0x0104: "RAID",
    0x0207: "InfiniBand",
    0x0403: "audio",
    0x0401: "audio",
    0x0600: "host bridge",
    0x0601: "ISA bridge",
    0x0604: "PCI bridge",
    0x0806: "IOMMU",
    0x0B40: "accelerator",
    0x0C03: "USB",
    0x0C05: "SMBus",
}
_BASES = {
    0x00: "old device",
    0x01: "storage",
    0x02: "network",
    0x03: "GPU",
    0x04: "multimedia",
    0x05: "memory",
    0x06: "bridge",
    0x07: "serial",
    0x08: "system",
    0x09: "input",
    0x0B: "processor",
    0x0C: "serial bus",
    0x0D: "wireless",
    0x10: "encryption",
    0x11: "signal",
    0x12: "accelerator",
}


def named(class_code: int) -> str:
    """The kind of a class of 24 bits, in a word or two."""
    return _NAMES.get(class_code >> 8) or _BASES.get(class_code >> 16, "other")


def is_of(class_code: int, word: str) -> bool:
    """Whether a class of 24 bits is one that the word stands for."""
    return any(number in (class_code >> 16, class_code >> 8) for number in SELECTABLE.get(word, ()))
