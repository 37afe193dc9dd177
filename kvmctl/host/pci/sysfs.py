"""This machine's PCI devices, as its kernel tells of them below /sys. Changes nothing.

Everything is read below `system`, which is / but for tests. What cannot be read is left out.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from kvmctl.host.machine import ROOT, number_of, text_of
from kvmctl.plan.pci.facts import Device, Mdev, MdevType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
BUS, PORT = re.compile(r"usb[0-9]+"), re.compile(r"[0-9]+-[0-9]+(\.[0-9]+)*")
"""How Linux calls a USB bus, and a port of it with what is plugged in there."""
UNIT = re.compile(r"[0-9]+:[0-9]+:[0-9]+:[0-9]+")
"""How it calls a SCSI device."""
DEVICES = "sys/bus/pci/devices"
FUNCTION = "virtfn"
"""What the links to virtual functions are called, before their number."""
HEADER = 16
"""Bytes of the configuration space that every device answers with."""
UP = 1
"""IFF_UP: https://man7.org/linux/man-pages/man7/netdevice.7.html"""


def devices(system: Path = ROOT) -> dict[str, Device]:
    """All of them by address."""
    cards, disks = carried(system, "net"), carried(system, "block")
    return {
        place.name: _device(system, place, cards.get(place.name, ()), disks.get(place.name, ()))
        for place in entries(system / DEVICES)
    }


def carrier(place: Path) -> str:
    """The PCI device that something of sysfs hangs on, the last of its path; empty if it hangs on none."""
    found = way(place)
    return found[-1] if found else ""


def real(place: Path) -> Path:
    """What an entry of sysfs leads to. Links lead to directories there, not to other links: one look is enough."""
    try:
        return place.parent.joinpath(os.readlink(place))
    except OSError:
        return place


def way(place: Path) -> list[str]:
    """The PCI devices on the way to something of sysfs, the outermost first."""
    return [part for part in real(place).parts if ADDRESS.fullmatch(part)]


def port(place: Path) -> str:
    """The port of the USB device that something of sysfs is or hangs on; empty if there is none on its path."""
    return last_port(real(place).parts)


def last_port(parts: Sequence[str]) -> str:
    """The last USB device on a path of sysfs; those stand behind the bus, which is a root hub: usb1."""
    for index, part in enumerate(parts):
        if BUS.fullmatch(part):
            found = [behind for behind in parts[index:] if PORT.fullmatch(behind)]
            return found[-1] if found else part
    return ""


def unit(place: Path) -> str:
    """The SCSI device that something of sysfs is or hangs on; empty if there is none on its path."""
    return last_unit(real(place).parts)


def last_unit(parts: Sequence[str]) -> str:
    """The last SCSI device on a path of sysfs."""
    return next((part for part in reversed(parts) if UNIT.fullmatch(part)), "")


def carried(system: Path, kind: str, on: Callable[[Path], str] = carrier) -> dict[str, tuple[str, ...]]:
    """Network interfaces (`net`) or block devices (`block`) by the device that they hang `on`."""
    found: dict[str, list[str]] = defaultdict(list)
    for place in entries(system / "sys/class" / kind):
        address = on(place)
        if address and not (place / "partition").exists():
            found[address].append(place.name)
    return {address: tuple(names) for address, names in found.items()}


def mdevs(system: Path = ROOT) -> dict[str, Mdev]:
    """The mediated devices that are there, by UUID; what libvirt keeps of them the kernel does not know."""
    places = entries(system / "sys/bus/mdev/devices")
    return {
        place.name: Mdev(uuid=place.name, type=_target(place / "mdev_type"), parent=carrier(place)) for place in places
    }


def function(address: str, system: Path = ROOT) -> tuple[str, int]:
    """The card that a virtual function belongs to, and its number there, from 0; no card for what is none."""
    card = _target(system / DEVICES / address / "physfn")
    place = system / DEVICES / card
    found = [
        name for name in (_functions(frozenset(_names(place))) if card else ()) if _target(place / name) == address
    ]
    return (card, int(found[0][len(FUNCTION) :])) if found else ("", 0)


def interfaces(address: str, system: Path = ROOT) -> list[str]:
    """The network interfaces of a device itself."""
    return [place.name for place in entries(system / DEVICES / address / "net")]


def _device(system: Path, place: Path, cards: tuple[str, ...], disks: tuple[str, ...]) -> Device:
    there, above = frozenset(_names(place)), way(place)[:-1]
    node, group = number_of(place / "numa_node"), _target(place / "iommu_group")
    return Device(
        address=place.name,
        class_code=hexadecimal(place / "class"),
        vendor=f"{hexadecimal(place / 'vendor'):04x}",
        product=f"{hexadecimal(place / 'device'):04x}",
        driver=_target(place / "driver"),
        group=int(group) if group.isdecimal() else None,
        numa_node=node if node is not None and node >= 0 else None,
        # Some controllers have whole buses behind them, of a domain of their own.
        parent=above[-1] if above else "",
        physical_function=_target(place / "physfn") if "physfn" in there else "",
        virtual_functions=tuple(_target(place / name) for name in _functions(there)),
        most_virtual_functions=(number_of(place / "sriov_totalvfs") or 0) if "sriov_totalvfs" in there else 0,
        mdev_types=tuple(
            MdevType(id=kind.name, name=text_of(kind / "name") or "", free=number_of(kind / "available_instances") or 0)
            for kind in (entries(place / "mdev_supported_types") if "mdev_supported_types" in there else ())
        ),
        interfaces=cards,
        blocks=disks,
        serial=_serial(system, disks),
        resets=_resets(place, there),
        boot_vga="boot_vga" in there and number_of(place / "boot_vga") == 1,
        rom="rom" in there,
        link_up=_up(system, cards),
        unreachable=_unreachable(place),
    )


def entries(place: Path) -> list[Path]:
    """What is in a directory, in order; nothing where there is none."""
    return [place / name for name in sorted(_names(place))]


def _names(place: Path) -> list[str]:
    try:
        return os.listdir(place)
    except OSError:
        return []


def _target(link: Path) -> str:
    """The last name of what a link leads to; empty without a link."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""


def hexadecimal(path: Path) -> int:
    """What a file says; 0 for what is no number."""
    try:
        return int(text_of(path) or "0", 16)
    except ValueError:
        return 0


def _unreachable(place: Path) -> bool:
    """Whether its configuration space has nothing but ones. Of a virtual function vendor and product always are."""
    try:
        with (place / "config").open("rb") as space:
            return space.read(HEADER) == b"\xff" * HEADER
    except OSError:
        return False


def _functions(there: frozenset[str]) -> list[str]:
    """The links to virtual functions, in the order of their numbers."""
    found = [name for name in there if name.startswith(FUNCTION) and name[len(FUNCTION) :].isdecimal()]
    return sorted(found, key=lambda name: int(name[len(FUNCTION) :]))


def _resets(place: Path, there: frozenset[str]) -> tuple[str, ...]:
    """Ways to reset it alone. Kernels before 5.15 tell only whether there is one."""
    if "reset_method" in there:
        return tuple((text_of(place / "reset_method") or "").split())
    return ("reset",) if "reset" in there else ()


def _serial(system: Path, disks: tuple[str, ...]) -> str:
    """The serial number of the disk that it is, or has alone."""
    found = {text_of(system / "sys/class/block" / name / "device/serial") or "" for name in disks}
    return found.pop() if len(found) == 1 else ""


def _up(system: Path, cards: tuple[str, ...]) -> bool | None:
    flags = [hexadecimal(system / "sys/class/net" / name / "flags") for name in cards]
    return any(flag & UP for flag in flags) if flags else None
