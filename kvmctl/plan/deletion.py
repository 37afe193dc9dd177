"""Which disks of a VM may be deleted with it, decided from definitions alone.

Only files that the VM's own definition names as its writable disks, and that no other VM mentions and no other disk
needs as its backing file. In doubt a disk is kept or the whole refused. Deletes nothing and asks no host.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvmctl.errors import Refused
from kvmctl.spec.metadata import CREATING, DISK, VM

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

VolumePaths = Mapping[tuple[str, str], str]
"""(pool, volume) -> path, for disks that are named so."""

DEVICES = {"cdrom": "a CD image", "floppy": "a floppy image", "lun": "a SCSI device of the host"}
MARKS = {"readonly": "read-only", "shareable": "shareable", "transient": "not to be changed by the VM"}
TYPES = {"block": "a block device", "network": "a disk on the network", "nvme": "an NVMe device of the host"}


@dataclass(frozen=True, kw_only=True)
class OwnDisk:
    """A disk of the VM's definition. `keep` says why it is not to be deleted; empty if it may be."""

    path: str
    keep: str = ""
    pool: str | None = None


@dataclass(frozen=True, kw_only=True)
class Others:
    """What else is on the host: the paths that each other VM mentions, and which files need which as backing file."""

    mentions: Mapping[str, frozenset[str]]
    backing: Mapping[str, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What goes and what stays."""

    doomed: tuple[OwnDisk, ...]
    kept: tuple[OwnDisk, ...]


def volumes_named(domain: Element) -> frozenset[tuple[str, str]]:
    """The (pool, volume) pairs that a domain names its disks by."""
    sources = domain.iter("source")
    return frozenset(
        (source.get("pool", ""), source.get("volume", "")) for source in sources if source.get("volume") is not None
    )


def mentions(domain: Element, volumes: VolumePaths, canonical: Callable[[str], str]) -> frozenset[str]:
    """Every path that a domain mentions anywhere: disks and what is below them, kernels, firmware and all else."""
    found = {volumes[named] for named in volumes_named(domain) if named in volumes}
    for element in domain.iter():
        for text in (element.text or "", *element.attrib.values()):
            found |= paths_in(text.strip())
    return frozenset(map(canonical, found))


def paths_in(text: str) -> set[str]:
    """The paths that a source names, which may be written as QEMU's json:{...}."""
    if text.startswith("/"):
        return {posixpath.normpath(text)}
    if not text.startswith("json:"):
        return set()
    try:
        return {posixpath.normpath(name) for name in _texts(json.loads(text.removeprefix("json:")))}
    except (ValueError, RecursionError):
        return set()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("/"):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)


def own_disks(domain: Element, volumes: VolumePaths) -> tuple[OwnDisk, ...]:
    """The disks of a definition, in its order; drives without a medium are not among them."""
    found = {}
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source")
        path = "" if source is None else _shown(disk, source, volumes)
        if path and path not in found:
            found[path] = OwnDisk(path=path, keep=_reason(disk, path))
    return tuple(found.values())


def _shown(disk: Element, source: Element, volumes: VolumePaths) -> str:
    """The path of a disk, or for what has none, a name to show."""
    for attribute in ("file", "dev", "dir"):
        if source.get(attribute):
            return source.get(attribute, "")
    if source.get("volume"):
        named = (source.get("pool", ""), source.get("volume", ""))
        return volumes.get(named) or "/".join(named)
    return ":".join(filter(None, (source.get("protocol") or disk.get("type"), source.get("name"))))


def _reason(disk: Element, path: str) -> str:
    kind, device = disk.get("type", "file"), disk.get("device", "disk")
    if device != "disk":
        return DEVICES.get(device, f"of the kind '{device}'")
    if kind not in ("file", "volume"):
        return TYPES.get(kind, f"of the type '{kind}'")
    if not path.startswith("/"):
        return "a volume that is not there"
    if path.startswith("/dev/"):
        return TYPES["block"]
    return next((words for mark, words in MARKS.items() if disk.find(mark) is not None), "")


def unfinished(domain: Element) -> tuple[OwnDisk, ...]:
    """The disks that an interrupted `create` was making: they go with the VM in any case."""
    found = domain.iterfind(f"metadata/{VM}/{CREATING}/{DISK}")
    return tuple(OwnDisk(path=disk.get("path", ""), pool=disk.get("pool")) for disk in found if disk.get("path"))


def candidates(own: Iterable[OwnDisk], pending: Iterable[OwnDisk], *, disks: bool) -> tuple[OwnDisk, ...]:
    """What would be deleted if nobody else needs it."""
    wanted = {disk.path: disk for disk in own if disks and not disk.keep}
    return tuple({**wanted, **{disk.path: disk for disk in pending}}.values())


def decide(
    vm: str,
    own: Sequence[OwnDisk],
    pending: Sequence[OwnDisk],
    others: Others,
    *,
    disks: bool,
    canonical: Callable[[str], str] = posixpath.normpath,
) -> Deletion:
    """What is deleted and what is kept, each with its reason. Raises Refused if --disks cannot be done safely."""
    doomed = {disk.path: disk for disk in candidates(own, pending, disks=disks)}
    unsure = {disk.path for disk in pending}
    refused: list[str] = []
    kept = [
        OwnDisk(path=disk.path, keep=disk.keep or "--disks was not given") for disk in own if disk.path not in doomed
    ]
    going = set(map(canonical, doomed))
    for disk in list(doomed.values()):
        users = _users(canonical(disk.path), going, others)
        if not users:
            continue
        if disk.path in unsure:  # it is not asked for, so it is no reason to keep the rest
            del doomed[disk.path]
            kept.append(OwnDisk(path=disk.path, keep=f"used by {users[0]}"))
        else:
            refused.append(f"{disk.path} is used by {users[0]}")
    if refused:
        raise Refused(
            "disk-in-use",
            f"nothing was deleted: {'; '.join(refused)}",
            hint="leave out --disks to keep all its disks, or delete what uses them first",
            vm=vm,
        )
    return Deletion(doomed=tuple(doomed.values()), kept=tuple(kept))


def _users(path: str, going: set[str], others: Others) -> list[str]:
    """Who else needs this file, in words."""
    users = [f"VM '{name}'" for name, mentioned in sorted(others.mentions.items()) if path in mentioned]
    above = sorted(others.backing.get(path, frozenset()) - going - {path})
    return users + [f"{file}, whose backing file it is" for file in above]
