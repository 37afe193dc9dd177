"""What this machine does with its block devices and network interfaces, as its kernel tells. Changes nothing.

Everything is read below `system`, which is / but for tests. Mounts are those of all mount namespaces that can be seen.
"""

from __future__ import annotations

import errno
import os
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kvmctl.host.machine import ROOT, text_of
from kvmctl.host.pci import processes
from kvmctl.host.pci.links import interfaces
from kvmctl.host.pci.shares import shares
from kvmctl.host.pci.sysfs import carrier, entries, port, real, unit
from kvmctl.plan.pci.hindrances import is_bound
from kvmctl.plan.pci.system import Block, System

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from kvmctl.plan.pci.facts import Device
    from kvmctl.plan.pci.system import Layer

NETWORK = 0x02
LAYERS: dict[str, Layer] = {"LVM-": "lvm", "CRYPT-": "crypt", "mpath-": "multipath"}
"""By how the UUID of a device-mapper device begins."""
PART = re.compile(r"part\d+-")
"""The same of partitions that are mapped since the kernel itself makes none, as of a disk with several ways to it."""
SHARED = ("9p", "virtiofs")
"""File systems that a hypervisor shares with its guest."""
ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}
"""How /proc writes letters that would end a field."""


def system_of(
    devices: Mapping[str, Device],
    system: Path = ROOT,
    *,
    connection: str = "",
    claims: bool = True,
    running: Collection[str] = (),
) -> System:
    """All uses. `connection` is the address at which this connection comes in; `claims` tries to claim each disk.

    `running` are the devices that running VMs are known to have, whose processes are no others' use of them.
    """
    opened = processes.openers(system)
    disks = {
        name: replace(block, openers=opened.get(name.replace("!", "/"), ()))
        for name, block in blocks(system, claims=claims).items()
    }
    others = {name: who for name, who in opened.items() if name.replace("/", "!") not in disks}
    return System(
        blocks=disks,
        interfaces=interfaces(system, connection),
        screens=frozenset(address for address, device in devices.items() if device.boot_vga and not _let_go(device)),
        hidden=frozenset(
            address
            for address, device in devices.items()
            if device.base_class == NETWORK and is_bound(device) and not device.interfaces
        ),
        openers=_openers(others, devices, system, running),
        usb_openers=_openers_by(port, others, system),
        scsi_openers=_openers_by(unit, others, system),
    )


def _openers(
    opened: Mapping[str, tuple[str, ...]], devices: Mapping[str, Device], system: Path, running: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Who has something of a device open, by its address: a file of vfio's stands for a whole group."""
    groups = {f"vfio/{devices[address].group}" for address in running if address in devices}
    found: dict[str, tuple[str, ...]] = {}
    for address, device in devices.items():
        name = f"vfio/{device.group}"
        if name in opened and name not in groups and "vfio" in device.driver:
            found[address] = opened[name]
    for name, place in processes.paths_of(opened.keys() - groups, system).items():
        address = carrier(place)
        if address in devices and address not in running:
            found[address] = found.get(address, ()) + opened[name]
    return found


def _openers_by(
    on: Callable[[Path], str], opened: Mapping[str, tuple[str, ...]], system: Path
) -> dict[str, tuple[str, ...]]:
    """Who has something of a device of another bus open, by what it hangs `on`."""
    found: dict[str, tuple[str, ...]] = {}
    for name, place in processes.paths_of(set(opened), system).items():
        there = on(place)
        if there:
            found[there] = found.get(there, ()) + opened[name]
    return found


def _let_go(device: Device) -> bool:
    """Whether it was taken from the host on purpose. Without any driver the firmware may still show the console."""
    return bool(device.driver) and not is_bound(device)


def blocks(system: Path, *, claims: bool) -> dict[str, Block]:
    mounts, swaps = _mounts(system), _swaps(system)
    found: dict[str, Block] = {}
    for place in entries(system / "sys/class/block"):
        number = text_of(place / "dev") or ""
        below = tuple(entry.name for entry in entries(place / "slaves"))
        uuid, above = text_of(place / "dm/uuid") or "", real(place).parent
        layer: Layer = "disk"
        if (place / "partition").exists():
            layer, below = "partition", (above.name,)
        elif PART.match(uuid):
            layer = "partition"
        elif (place / "md").is_dir():
            layer = "raid"
        elif (place / "dm").is_dir():
            layer = next((layer for start, layer in LAYERS.items() if start in uuid), "mapped")
        elif (place / "loop").is_dir():
            layer, below = "loop", _backing(system, place)
        elif below:
            layer = "other"
        else:
            # A disk with several ways to it hangs on its subsystem, and that on the controllers.
            below = tuple(entry.name for entry in _controllers(above))
            for entry in _controllers(above):
                found.setdefault(entry.name, Block(name=entry.name, pci=carrier(entry)))
        found[place.name] = Block(
            name=place.name,
            pci=carrier(place) if layer == "disk" else "",
            usb=port(place) if layer == "disk" else "",
            scsi=unit(place) if layer == "disk" else "",
            layer=layer,
            below=below,
            label=_label(text_of(place / "dm/name") or "", layer),
            mounts=tuple(sorted(mounts.get(number, set()) | mounts.get(place.name, set()))),
            swap=place.name in swaps,
            claimed=claimed(system, place.name)
            if claims and layer == "disk" and (carrier(place) or port(place) or unit(place) or below)
            else False,
        )
    return _with_btrfs(system, found) | {share.name: share for share in shares(system, _shared(system))}


def _label(name: str, layer: Layer) -> str:
    """The name of a mapped device. LVM writes vg0/root as vg0-root, and doubles each other hyphen."""
    if layer != "lvm":
        return name
    parts = [part.replace("\0", "-") for part in name.replace("--", "\0").split("-")]
    return "/".join(parts[:2]) + "".join(f"-{part}" for part in parts[2:])


def _backing(system: Path, place: Path) -> tuple[str, ...]:
    """The device that a loop device is on, if it is one and no file."""
    path = text_of(place / "loop/backing_file") or ""
    return (_name(system, path),) if path.startswith("/dev/") else ()


def _controllers(subsystem: Path) -> list[Path]:
    return [entry for entry in entries(subsystem) if entry.name[4:].isdecimal() and entry.name.startswith("nvme")]


def _mounts(system: Path) -> dict[str, set[str]]:
    """Places by the number of the device, and by its name where the file system has a number of its own."""
    found: dict[str, set[str]] = defaultdict(set)
    for table in _mount_tables(system):
        for line in table.splitlines():
            fields, _, source = line.partition(" - ")
            parts, origin = fields.split(), source.split()
            if len(parts) < 5 or len(origin) < 2:
                continue
            place = _plain(parts[4])
            found[parts[2]].add(place)
            if origin[1].startswith("/dev/"):
                found[_name(system, _plain(origin[1]))].add(place)
    return found


def _shared(system: Path) -> dict[str, set[str]]:
    """Places of file systems that a hypervisor shares, by name."""
    found: dict[str, set[str]] = defaultdict(set)
    for table in _mount_tables(system):
        for line in table.splitlines():
            fields, _, source = line.partition(" - ")
            parts, origin = fields.split(), source.split()
            if len(parts) > 4 and len(origin) > 1 and origin[0] in SHARED:
                found[_plain(origin[1])].add(_plain(parts[4]))
    return found


def _mount_tables(system: Path) -> list[str]:
    """One for each mount namespace that somebody lives in."""
    tables: dict[str, str] = {}
    for process in entries(system / "proc"):
        if not (process.name.isdecimal() or process.name == "self"):
            continue
        try:
            space = os.readlink(process / "ns/mnt")
        except OSError:
            space = "self" if process.name in ("self", "1") else ""
        if space and space not in tables:
            table = text_of(process / "mountinfo")
            if table:
                tables[space] = table
    return list(tables.values())


def _swaps(system: Path) -> frozenset[str]:
    lines = (text_of(system / "proc/swaps") or "").splitlines()[1:]
    return frozenset(_name(system, _plain(line.split()[0])) for line in lines if line.startswith("/dev/"))


def _name(system: Path, path: str) -> str:
    """The kernel's name of a device that was named by any of its paths."""
    return (system / path.lstrip("/")).resolve().name


def _plain(text: str) -> str:
    for written, meant in ESCAPES.items():
        text = text.replace(written, meant)
    return text


def claimed(system: Path, name: str) -> bool | None:
    """Whether something has it for itself: a file system of any kind, an array, a target. None: only root may ask."""
    path = system / "dev" / name.replace("!", "/")
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as problem:
        if problem.errno in (errno.EACCES, errno.EPERM):
            return None
        return problem.errno not in (errno.ENOENT, errno.ENXIO, errno.ENOMEDIUM)
    return False


def _with_btrfs(system: Path, found: dict[str, Block]) -> dict[str, Block]:
    """A btrfs that is mounted has all of its devices, of which the mounts name one."""
    for space in entries(system / "sys/fs/btrfs"):
        members = [entry.name for entry in entries(space / "devices") if entry.name in found]
        places = {place for name in members for place in found[name].mounts} or {"a btrfs"}
        for name in members:
            found[name] = replace(found[name], mounts=tuple(sorted(places)))
    return found
