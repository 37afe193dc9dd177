"""The disks of a VM as a move looks at them, from the XML of any domain, and names as they are at the target. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.plan.deletion import paths_in
from kvmctl.plan.migration import mapping
from kvmctl.plan.volumes import Encryption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

BLOCK_TYPES = ("block", "nvme", "vhostvdpa")


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One disk. `path` is a file or block device of the host; of a volume, known once its pool was asked."""

    target: str
    device: str = "disk"
    type: str = "file"
    format: str = "raw"
    """As the definition names it."""
    path: str = ""
    protocol: str = ""
    hosts: tuple[str, ...] = ()
    pool: str = ""
    volume: str = ""
    readonly: bool = False
    shareable: bool = False
    cache: str = ""
    backing: tuple[str, ...] = ()
    copying: bool = False
    """A block job works on it."""
    encryption: Encryption | None = None
    encrypted_below: bool = False
    """An image below it is encrypted."""

    @property
    def empty(self) -> bool:
        return not (self.path or self.protocol or self.volume or self.type not in ("file", "block", "dir", "volume"))

    @property
    def written(self) -> bool:
        return not self.readonly and not self.empty and self.device in ("disk", "lun")

    @property
    def is_device(self) -> bool:
        """A device of the host, beside which nothing is ever written."""
        return self.type in BLOCK_TYPES or self.path.startswith("/dev/")

    @property
    def shown(self) -> str:
        """Its source for people."""
        if self.protocol:
            return f"{self.protocol}:{self.volume}"
        return self.path or "/".join(filter(None, (self.pool, self.volume))) or f"of type {self.type}"


def disks_of(domain: Element) -> tuple[Disk, ...]:
    """All disks, drives without a medium too."""
    return tuple(map(_disk, domain.iterfind("devices/disk")))


def _disk(disk: Element) -> Disk:
    source, target, driver = disk.find("source"), disk.find("target"), disk.find("driver")
    given = {} if source is None else source.attrib
    path = next((given[name] for name in ("file", "dev", "dir") if given.get(name)), "")
    device = disk.get("device", "disk")
    mirror = disk.find("mirror")
    return Disk(
        target="" if target is None else target.get("dev", ""),
        device=device,
        type=disk.get("type", "file"),
        format="raw" if driver is None else driver.get("type", "raw"),
        path=path,
        protocol=given.get("protocol", ""),
        hosts=() if source is None else tuple(_hosts(source)),
        pool=given.get("pool", ""),
        volume=given.get("volume", "") or given.get("name", ""),
        readonly=disk.find("readonly") is not None or device == "cdrom",
        shareable=disk.find("shareable") is not None,
        cache="" if driver is None else driver.get("cache", ""),
        backing=tuple(_backing(disk)),
        copying=mirror is not None,
        encryption=_encryption(disk),
        encrypted_below=disk.find("backingStore//encryption") is not None,
    )


def _encryption(disk: Element) -> Encryption | None:
    for place in ("source/encryption", "encryption"):
        found = disk.find(place)
        if found is not None:
            secret = found.find("secret")
            given = {} if secret is None else secret.attrib
            return Encryption(format=found.get("format", ""), uuid=given.get("uuid", ""), usage=given.get("usage", ""))
    return None


def _hosts(source: Element) -> Iterator[str]:
    """Who serves it; a socket on this very host by its path."""
    for host in source.iterfind("host"):
        yield host.get("name") or host.get("socket") or ""


def _backing(disk: Element) -> Iterator[str]:
    below = disk.find("backingStore")
    while below is not None:
        source = below.find("source")
        if source is not None:
            for name in ("file", "dev"):
                yield from sorted(paths_in(source.get(name, "")))
        below = below.find("backingStore")


def path_there(path: str, maps: Mapping[str, str]) -> str:
    """A path at the target."""
    return mapping.path(posixpath.normpath(path), maps)


def name_there(kind: str, name: str, maps: Mapping[str, str]) -> str:
    """A network, bridge or pool at the target."""
    return maps.get(f"{kind}:{name}", name)
