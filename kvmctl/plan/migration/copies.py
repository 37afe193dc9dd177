"""What `--copy-disks` makes at the target and how it is filled, decided from facts alone.

A running VM's disks are mirrored by QEMU into empty volumes of the same size and format: the top layer alone where the
target has the images below, else all layers in one. Files that nobody writes are sent as they are, layer by layer. No
volume is ever planned where something stands already: making it fails then.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.errors import Refused
from kvmctl.plan.volumes import NewVolume

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MADE = ("qcow2", "raw")
"""Formats that volumes are made in."""
FULL = 0.8
"""A guest that writes more than this part of the link to its disks has its writes wait for the target."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A file of a disk at the source. `backing` is what it names as the image below, however that is written."""

    path: str
    there: str
    format: str
    length: int
    """Of the file."""
    size: int
    """What the guest would see of it."""
    allocated: int = 0
    cluster: int = 0
    backing: str = ""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A disk to copy; `layers` from the top down as far as they are files that could be read.

    `complete` says that they are all. `still`: nobody writes to it while it is copied, so that its files can be sent.
    """

    target: str
    layers: tuple[Layer, ...]
    size: int
    still: bool
    complete: bool = True
    encrypted: bool = False
    shareable: bool = False


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A volume that is filled with what a file of the source has, byte by byte."""

    path: str
    volume: NewVolume


@dataclass(frozen=True, kw_only=True)
class Copies:
    """`mirrored` are the disks that libvirt copies while it moves the VM; of `layers` the top alone."""

    mirrored: tuple[str, ...] = ()
    layers: bool = False
    volumes: tuple[NewVolume, ...] = ()
    """Empty ones, for the mirrored disks."""
    sent: tuple[Sent, ...] = ()
    flat: tuple[str, ...] = ()
    """Disks whose layers become one at the target."""


def decide(disks: Sequence[Copy], there: Mapping[str, bool]) -> Copies:
    """How each disk is copied. `there`: path at the target of an image below -> whether it is the same image.

    Raises Refused for a disk that cannot be copied.
    """
    mirrored = [disk for disk in disks if not disk.still]
    for disk in mirrored:
        _check(disk)
    # libvirt has one answer for all disks of a VM.
    layers = any(len(disk.layers) > 1 for disk in mirrored) and all(_is_based(disk, there) for disk in mirrored)
    sent: dict[str, Sent] = {}
    for disk in disks:
        if disk.still:
            sent |= {each.volume.path: each for each in _sent(disk, there)}
    return Copies(
        mirrored=tuple(disk.target for disk in mirrored),
        layers=layers,
        volumes=tuple(_volume(disk, layers) for disk in mirrored),
        sent=tuple(sent.values()),
        flat=tuple(disk.target for disk in mirrored if not layers and (len(disk.layers) > 1 or not disk.complete)),
    )


def synchronous(written: int, link: int | None, bandwidth: int | None) -> bool:
    """Whether the guest's writes must wait for the target, so that the copy ever gets done.

    `written` is what it writes to these disks in a second. Not for all: while the bulk is copied, a guest whose writes
    wait gets hardly any through.
    """
    limits = [limit for limit in (link, bandwidth) if limit]
    return bool(limits) and written > FULL * min(limits)


def share(bandwidth: int, disks: int) -> int:
    """Of a limit for the whole move, what one disk may take: libvirt gives it to each of them."""
    return max(1, bandwidth // max(1, disks))


def room(disks: Sequence[Copy], copies: Copies) -> dict[str, int]:
    """Directory at the target -> bytes that the copies take there."""
    needed: dict[str, int] = {}
    sent = {each.path for each in copies.sent}
    for disk in disks:
        taken = [layer for layer in disk.layers if layer.path in sent]
        if not disk.still:
            taken = list(disk.layers[:1] if copies.layers else disk.layers)
        for layer in taken:
            place = layer.there if disk.still else disk.layers[0].there
            directory = posixpath.dirname(place)
            needed[directory] = needed.get(directory, 0) + layer.allocated
    return needed


def form(domain: Element, target: str) -> tuple[str, bool]:
    """The format of a disk as the definition names it, and whether its content is encrypted."""
    for disk in domain.iterfind("devices/disk"):
        named = disk.find("target")
        if named is not None and named.get("dev") == target:
            driver = disk.find("driver")
            encrypted = any(disk.find(place) is not None for place in ("encryption", "source/encryption"))
            return "raw" if driver is None else driver.get("type", "raw"), encrypted
    return "raw", False


def flatten(domain: Element, targets: Sequence[str]) -> None:
    """Have these disks name no images below them: what their copies have is all in one."""
    for disk in domain.iterfind("devices/disk"):
        named, below = disk.find("target"), disk.find("backingStore")
        if named is not None and below is not None and named.get("dev") in targets:
            disk.remove(below)


def _check(disk: Copy) -> None:
    top = disk.layers[0]
    if disk.encrypted:
        why, hint = "is encrypted, and cannot be copied while it is in use", "stop the VM, then migrate it"
    elif disk.shareable:
        why, hint = "is shared with other VMs, which go on writing to it", "put it on storage that both hosts have"
    elif top.format not in MADE:
        why, hint = f"has the format {top.format}, in which volumes are not made", "stop the VM, then migrate it"
    else:
        return
    raise Refused("not-supported", f"{top.path}, disk {disk.target}, {why}", hint=hint)


def _is_based(disk: Copy, there: Mapping[str, bool]) -> bool:
    """Whether the top alone will do. What an image names as the one below it cannot be renamed."""
    below = disk.layers[1:]
    return (
        disk.complete
        and all(there.get(layer.there, False) for layer in below)
        and all(layer.there == layer.path for layer in below[1:])
    )


def _volume(disk: Copy, layers: bool) -> NewVolume:
    top = disk.layers[0]
    below = disk.layers[1] if layers and len(disk.layers) > 1 else None
    return NewVolume(
        path=top.there,
        size=disk.size,
        format=top.format,
        backing=below.there if below else None,
        backing_format=below.format if below else None,
        pool=None,
        name=top.there.rpartition("/")[2],
        cluster_size=top.cluster if top.format == "qcow2" else 0,
    )


def _sent(disk: Copy, there: Mapping[str, bool]) -> list[Sent]:
    """The files that the target has not. One that it has and that differs is met when it is made."""
    if not disk.complete:
        raise Refused(
            "not-supported",
            f"not all images below {disk.layers[0].path}, disk {disk.target}, are files that can be copied",
            hint="start the VM, then migrate it: its layers become one",
        )
    for layer in disk.layers[1:]:
        if layer.there != layer.path:
            raise Refused(
                "not-supported",
                f"{layer.path}, below disk {disk.target}, would be {layer.there}, and the image above names it",
                hint="start the VM, then migrate it: its layers become one",
            )
    top, *below = disk.layers
    missing = [top, *(layer for layer in below if not there.get(layer.there, False))]
    return [Sent(path=layer.path, volume=_plain(layer)) for layer in missing]


def _plain(layer: Layer) -> NewVolume:
    """Nothing but zeros, as long as the file is: whatever format that has, its bytes come over as they are."""
    name = layer.there.rpartition("/")[2]
    return NewVolume(
        path=layer.there, size=layer.length, format="raw", backing=None, backing_format=None, pool=None, name=name
    )
