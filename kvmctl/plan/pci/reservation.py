"""The files that keep devices for VMs from boot on, whatever else is alike on the host. Pure.

Each device is named by its address, so that of two that are alike the other stays with the host. A rule of udev gives
it to vfio-pci before its own driver is loaded, and takes it from that one where another such device was faster. The
initramfs has drivers too, so the rule has to be in there as well; how, each of its makers wants to be told differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

RULES = "/etc/udev/rules.d/05-kvmctl.rules"
HEADER = "# Written by kvmctl pci reserve.\n"
TAKE = (
    "test -e /sys/bus/pci/drivers/vfio-pci/%k || "
    "{ test -e /sys%p/driver && echo %k >/sys%p/driver/unbind; echo %k >/sys/bus/pci/drivers_probe; }"
)
RULE = (
    'ACTION=="add", SUBSYSTEM=="pci", KERNEL=="{address}", ATTR{{driver_override}}="vfio-pci", '
    'RUN{{builtin}}+="kmod load vfio-pci", RUN+="/bin/sh -c \'{take}\'"\n'
)
NAMED = re.compile(r'KERNEL=="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class File:
    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What makes the initramfs: `needs` is there where it is used, `file` tells it of the rule, `command` runs it."""

    needs: str
    file: File
    command: tuple[str, ...]


MAKERS = (
    Maker(
        needs="/usr/share/initramfs-tools/hook-functions",
        file=File(
            path="/etc/initramfs-tools/hooks/kvmctl",
            text=f"#!/bin/sh\n{HEADER}"
            '[ "$1" != prereqs ] || exit 0\n'
            ". /usr/share/initramfs-tools/hook-functions\n"
            "manual_add_modules vfio-pci\n"
            f"copy_file rules {RULES}\n",
            mode=0o755,
        ),
        command=("update-initramfs", "-u", "-k", "all"),
    ),
    Maker(
        needs="/usr/lib/dracut",
        file=File(
            path="/etc/dracut.conf.d/kvmctl.conf",
            text=f'{HEADER}add_drivers+=" vfio-pci "\ninstall_items+=" {RULES} "\n',
        ),
        command=("dracut", "--regenerate-all", "--force"),
    ),
    Maker(
        needs="/usr/lib/initcpio",
        file=File(
            path="/etc/mkinitcpio.conf.d/kvmctl.conf",
            text=f"{HEADER}MODULES+=(vfio-pci)\nFILES+=({RULES})\n",
        ),
        command=("mkinitcpio", "--allpresets"),
    ),
)
"""Of initramfs-tools (Debian, Ubuntu), dracut (Fedora, RHEL, SUSE) and mkinitcpio (Arch)."""


def files(addresses: Iterable[str], maker: Maker | None) -> tuple[File, ...]:
    """All that these devices need; `maker` is None where there is no initramfs."""
    rules = "".join(RULE.format(address=address, take=TAKE) for address in sorted(set(addresses)))
    return (File(path=RULES, text=HEADER + rules), *((maker.file,) if maker else ()))


def reserved(rules: str) -> tuple[str, ...]:
    """The devices that a file of rules names."""
    return tuple(NAMED.findall(rules))
