"""The `firmware:` and `boot:` groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from kvmctl.spec.declare import group, scalar, through, values
from kvmctl.spec.kinds import BOOLEAN, PATH, TEXT, choice
from kvmctl.spec.lenses import Marked, Scalar

_SECURE_BOOT = Marked("firmware/feature", {"name": "secure-boot"}, Scalar("@enabled", BOOLEAN))
_ENROLLED_KEYS = Marked("firmware/feature", {"name": "enrolled-keys"}, Scalar("@enabled", BOOLEAN))


@group
class Firmware:
    """What runs before the operating system."""

    SHORTHAND: ClassVar = "type"

    type: str | None = scalar(
        "@firmware",
        choice("bios", "uefi", xml={"uefi": "efi"}),
        "bios or uefi; the host finds the file.",
        example="uefi",
    )
    secure_boot: bool | None = through(_SECURE_BOOT, BOOLEAN, "Start only what is signed; needs uefi.")
    enrolled_keys: bool | None = through(
        _ENROLLED_KEYS, BOOLEAN, "Have the vendors' keys enrolled; left out, they are when secure_boot is true."
    )

    def check(self) -> Iterator[tuple[str, str, str]]:
        for name in ("secure_boot", "enrolled_keys"):
            if getattr(self, name) and self.type != "uefi":
                yield name, f"{name} needs UEFI", "write type: uefi beside it"


@group
class Boot:
    """Where the guest starts from: devices in order, or a kernel given directly."""

    SHORTHAND: ClassVar = "order"

    order: tuple[str, ...] = values(
        "boot/@dev",
        choice("disk", "cdrom", "network", "floppy", xml={"disk": "hd", "floppy": "fd"}),
        "Kinds of device to try, in order.",
        example="[disk, network]",
    )
    kernel: str | None = scalar("kernel", PATH, "Linux kernel on the host, started without a boot loader.")
    initrd: str | None = scalar("initrd", PATH, "Initial RAM disk for that kernel.")
    cmdline: str | None = scalar("cmdline", TEXT, "Command line for that kernel.")
    menu: bool | None = scalar("bootmenu/@enable", BOOLEAN, "Offer the firmware's boot menu.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        for name in ("initrd", "cmdline"):
            if getattr(self, name) is not None and not self.kernel:
                yield name, f"{name} is given without kernel", "write kernel: too"
        for index, device in enumerate(self.order):
            if device in self.order[:index]:
                yield f"order[{index}]", f"'{device}' is given twice", "name each kind of device once"
