"""The `disks:` and `cdrom:` lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from kvmctl.spec.declare import beside, group, nested, scalar, through, unmapped
from kvmctl.spec.kinds import BOOLEAN, NAME, PATH, SIZE, choice, integer, pattern
from kvmctl.spec.lenses import Flag, find, prune, require
from kvmctl.spec.model.pci import CHOSEN_DISK, Address

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

BYTES = replace(SIZE, load=lambda text: int(text) or None, dump=str)
TARGET = pattern("a disk name", "(vd|sd|hd|fd|xvd|ubd)[a-z]{1,3}", "vda")
FORMAT = choice("qcow2", "raw", "qcow", "qed", "vmdk", "vdi", "vhdx", "vpc", "luks", "dmg", "bochs", "cloop")
BUS = choice("virtio", "scsi", "sata", "usb", "ide", "fdc", "sd", "xen")
CACHE = choice("none", "writeback", "writethrough", "directsync", "unsafe", "default")
RATE = integer(1, 2**40)
SERIAL = pattern("a serial number of letters, digits, spaces and _.+-", r"[A-Za-z0-9_.+-][A-Za-z0-9_.+ -]*", "ROOT-1")


def known_format(path: str) -> str | None:
    """The format that a path's ending names beyond doubt. Nothing is ever probed: `.img` may be anything."""
    if path.startswith("/dev/"):
        return "raw"
    ending = path.rpartition(".")[2].lower()
    return {"qcow2": "qcow2", "raw": "raw", "iso": "raw"}.get(ending)


class _Path:
    """<disk type='file'><source file=…>, or type='block' and <source dev=…> for what lies below /dev/."""

    attributes: ClassVar = {"file": "file", "block": "dev"}

    def get(self, element: Element) -> str | None:
        node = find(element, ("source",))
        name = self.attributes.get(element.get("type", "file"))
        return None if node is None or name is None else node.get(name)

    def put(self, element: Element, value: str | None) -> None:
        node = require(element, ("source",))
        if element.get("type") == "nvme":
            node.clear()
        for name in self.attributes.values():
            node.attrib.pop(name, None)
        if value is not None:
            kind = "block" if value.startswith("/dev/") else "file"
            element.set("type", kind)
            node.set(self.attributes[kind], value)
        prune(element, ("source",))


class _Nvme(Address):
    """<disk type='nvme'>, the first namespace of an NVMe device that QEMU itself drives."""

    source: ClassVar = {"type": "pci", "managed": "yes", "namespace": "1"}

    def get(self, element: Element) -> str | None:
        node = element.find("source")
        plain = element.get("type") == "nvme" and node is not None and node.attrib == self.source
        return super().get(element) if plain else None

    def put(self, element: Element, value: str | None) -> None:
        if value is not None:
            element.set("type", "nvme")
            require(element, ("source",)).attrib.update(self.source)
        super().put(element, value)


def is_disk(element: Element) -> bool:
    """A disk whose content is a file, a block device or a whole NVMe device of the host."""
    known = element.get("type", "file") in _Path.attributes or _Nvme().get(element) is not None
    return element.get("device", "disk") == "disk" and known


def is_cdrom(element: Element) -> bool:
    return element.get("device") == "cdrom" and element.get("type", "file") in _Path.attributes


def block_sources(domain: Element) -> Iterator[tuple[Element, str]]:
    """The drives of any kind that are block devices of a domain's host, with the path of each."""
    for element in domain.iterfind("devices/disk"):
        path = _Path().get(element) or ""
        if path and (element.get("type") == "block" or path.startswith("/dev/")):
            yield element, path


@group
class Image:
    """An existing image that a new disk starts from; it is never written to."""

    SHORTHAND: ClassVar = "path"

    path: str | None = beside(PATH, "The image on the host.", example="/srv/images/debian-12.qcow2")
    format: str | None = beside(FORMAT, "Its format; needed where the path does not end in .qcow2 or .raw.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not self.path:
            yield "", "path is missing", "name the image"
        elif not self.format and not known_format(self.path):
            yield (
                "path",
                f"the format of '{self.path}' is not certain from its name",
                "write image: {path: …, format: qcow2}",
            )


@group
class Limits:
    """What the disk may do in a second."""

    iops: int | None = scalar("total_iops_sec", RATE, "Operations, reading and writing together.")
    read_iops: int | None = scalar("read_iops_sec", RATE, "Read operations.")
    write_iops: int | None = scalar("write_iops_sec", RATE, "Write operations.")
    throughput: int | None = scalar("total_bytes_sec", BYTES, "Bytes, reading and writing together.")
    read_throughput: int | None = scalar("read_bytes_sec", BYTES, "Bytes read.")
    write_throughput: int | None = scalar("write_bytes_sec", BYTES, "Bytes written.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        for total, parts in (
            ("iops", ("read_iops", "write_iops")),
            ("throughput", ("read_throughput", "write_throughput")),
        ):
            if getattr(self, total) and any(getattr(self, part) for part in parts):
                yield total, f"{total} cannot stand beside {parts[0]} or {parts[1]}", "give the total, or the parts"


@group
class Disk:
    """A disk: an existing file or block device (path), a new one (size, image, or both), or an NVMe device (nvme)."""

    CONSTANTS: ClassVar = {"type": "file", "device": "disk"}
    SHORTHAND: ClassVar = "path"

    name: str | None = scalar(
        "target/@dev", TARGET, "Name of the disk in the VM; given by its place if left out.", example="vda"
    )
    path: str | None = through(
        _Path(), PATH, "An existing file or block device of the host, unless the host itself uses it."
    )
    nvme: str | None = through(
        _Nvme(),
        CHOSEN_DISK,
        "A whole NVMe device of the host: its address, its disk or serial number there, or nvme for any that is free.",
        example="0000:3b:00.0",
    )
    size: int | None = beside(SIZE, "Make a new disk of this size.", example="20GiB")
    image: Image | None = unmapped(Image, "Make a new disk on top of this image, which is kept as its backing file.")
    pool: str | None = beside(NAME, "Storage pool that a new disk is made in; left out, the pool called default.")
    format: str | None = scalar(
        "driver/@type",
        FORMAT,
        "Format of the disk. A new one is qcow2 if left out; an existing one needs it where the path does not end in "
        ".qcow2 or .raw.",
    )
    bus: str | None = scalar("target/@bus", BUS, "How the guest sees it; virtio if left out.")
    cache: str | None = scalar("driver/@cache", CACHE, "Host cache mode.")
    io: str | None = scalar(
        "driver/@io", choice("native", "threads", "io_uring"), "How QEMU does the input and output."
    )
    iothread: int | None = scalar(
        "driver/@iothread",
        integer(1, 4096),
        "Number of the iothread that serves it, from 1 to cpu.iothreads.",
    )
    discard: str | None = scalar(
        "driver/@discard", choice("unmap", "ignore"), "What becomes of blocks the guest gives back."
    )
    readonly: bool | None = through(Flag("readonly"), BOOLEAN, "The guest cannot write to it.")
    shareable: bool | None = through(Flag("shareable"), BOOLEAN, "Several VMs may use it at once.")
    serial: str | None = scalar("serial", SERIAL, "Serial number the guest sees.")
    boot_order: int | None = scalar("boot/@order", integer(1, 1000), "Place in the boot order, instead of boot:.")
    limits: Limits | None = nested("iotune", Limits, "Limits by second.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        if self.path and not self.format and not known_format(self.path):
            yield (
                "path",
                f"the format of '{self.path}' is not certain from its name",
                "write format: qcow2 or format: raw",
            )
        new = [name for name in ("size", "image") if getattr(self, name)]
        if self.path and new:
            yield new[0], f"path names an existing disk, {new[0]} makes a new one", f"leave out path, or {new[0]}"
        if self.nvme and (self.path or new):
            yield "nvme", "nvme is a whole device, and this has path, size or image too", "write one of them"
        if self.nvme and self.format not in (None, "raw"):
            yield "format", "an NVMe device is raw", "leave out format"
        if not self.path and not new and not self.nvme:
            yield "", "neither path nor size nor image is given", "write size: 20GiB for a new disk"
        if self.pool and not new:
            yield (
                "pool",
                "pool is where a new disk is made, and this one is not new",
                "write size: too, or leave out pool",
            )
        if self.iothread and self.bus not in (None, "virtio"):
            yield "iothread", f"a {self.bus} disk cannot have an iothread", "leave iothread out, or write bus: virtio"
        if self.image and self.format not in (None, "qcow2"):
            yield "format", f"a {self.format} disk cannot have a backing image", "leave out format"
        if new and self.format not in (None, "qcow2", "raw"):
            yield "format", f"new disks are made as qcow2 or raw, not {self.format}", "leave out format"


@group
class Cdrom:
    """A CD-ROM drive, empty without a path."""

    CONSTANTS: ClassVar = {"type": "file", "device": "cdrom"}
    SHORTHAND: ClassVar = "path"

    name: str | None = scalar("target/@dev", TARGET, "Name of the drive in the VM; given by its place if left out.")
    path: str | None = through(
        _Path(), PATH, "The disc: an ISO image or a drive of the host.", example="/srv/debian.iso"
    )
    bus: str | None = scalar("target/@bus", BUS, "How the guest sees it.")
    boot_order: int | None = scalar("boot/@order", integer(1, 1000), "Place in the boot order, instead of boot:.")
