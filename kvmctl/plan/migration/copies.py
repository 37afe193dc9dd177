"""What `--copy-disks` makes at the target and how it is filled, decided from facts alone.

A running VM's disks are mirrored by QEMU into empty volumes of the same size and format: the top layer alone where the
target has the images below, else all layers in one. What is encrypted is decrypted here and encrypted anew there, with
the target's own passphrase. Files that nobody writes are sent as they are, layer by layer. No volume is ever planned
where something stands already: making it fails then.
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

    from kvmctl.plan.volumes import Encryption

MADE = ("qcow2", "raw")
"""Formats that volumes are made in."""
ENCRYPTED = "luks"
"""How volumes can be encrypted."""
FULL = 0.8
"""A guest that writes more than this part of the link to its disks has its writes wait for the target."""
ORDINARY = 125_000_000
"""Bytes a second of Gigabit Ethernet: what a link is taken for whose speed is not known."""


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
    encryption: Encryption | None = None
    encrypted_below: bool = False
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
    return written > FULL * min(limit for limit in (link or ORDINARY, bandwidth) if limit)


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
            whole = not disk.still and is_whole(layer.format, disk.encryption)
            needed[directory] = needed.get(directory, 0) + (layer.length if whole else layer.allocated)
    return needed


def is_whole(form: str, encryption: Encryption | None) -> bool:
    """Whether a mirror of it fills the target's volume: what was never written reads as noise through encryption."""
    return form == "raw" and encryption is not None


def flatten(domain: Element, targets: Sequence[str]) -> None:
    """Have these disks name no images below them: what their copies have is all in one."""
    for disk in domain.iterfind("devices/disk"):
        named, below = disk.find("target"), disk.find("backingStore")
        if named is not None and below is not None and named.get("dev") in targets:
            disk.remove(below)


def _check(disk: Copy) -> None:
    top = disk.layers[0]
    if disk.encryption and (disk.encryption.format != ENCRYPTED or not disk.encryption.secret):
        why = f"is encrypted as {disk.encryption.format or 'nobody says'}, and volumes are made with LUKS alone"
        hint = "stop the VM, then migrate it: its file goes as it is"
    elif disk.encryption and top.there.startswith("/dev/"):
        why = f"would be {top.there}, and encrypted volumes are made as files alone"
        hint = "--map it to a file, or stop the VM, then migrate it: its content goes as it is"
    elif disk.encrypted_below and not disk.encryption:
        why = "is not encrypted, but an image below it is, and both would become one"
        hint = "stop the VM, then migrate it: its files go as they are"
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
        and not disk.encrypted_below
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
        encryption=disk.encryption,
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
