"""Disks: make, look at and delete them, by libvirt's storage pools or, on the embedded host, by qemu-img.

Local and remote hosts go the same way. Formats are always named and never guessed. Nothing is ever overwritten. Whether
a disk may be deleted is decided in `plan/deletion.py`, not here. Of a passphrase only the name of its secret is known.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from kvmctl.errors import Conflict, NotFound, Refused
from kvmctl.host import pools, qemu_img
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.pools import default_pool, pool
from kvmctl.host.targets import state_directory
from kvmctl.plan.deletion import paths_in

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.volumes import NewVolume

__all__ = ["backing_users", "default_pool", "embedded_images", "exists", "free_bytes", "make", "pool", "remove"]

DIRECTORIES = ("dir", "fs", "netfs")
"""Types of pools whose volumes are files, which may have come without libvirt's knowing."""
UNMEASURED = "Unable to get accurate CPU usage"
"""What qemu-img says if it could not measure how fast the host is, as it does for LUKS. It happens on busy hosts."""
UNMEASURED_TRIES = 8


def embedded_images(host: Host) -> str:
    """Where the embedded host keeps its disks."""
    root = parse_qs(urlsplit(host.target.uri).query).get("root", [])
    return os.path.join(root[0] if root else state_directory() / "embedded", "images")


def free_bytes(pool: libvirt.virStoragePool) -> int:
    """Room left in a pool, in bytes."""
    with translated(doing="ask for the room in a storage pool"):
        return int(pool.info()[3])


def exists(host: Host, volume: NewVolume) -> bool:
    """Whether something stands where the volume would be made."""
    if volume.pool is None:
        return os.path.lexists(volume.path)
    found = pool(host, volume.pool)
    pools.refresh(found)  # libvirt remembers files that are gone, and has not seen new ones
    return _named(found, volume.name) is not None


def make(host: Host, volume: NewVolume, work: Work) -> None:
    """Make a volume; what is there already is not touched. A failure leaves nothing."""
    work.check()
    if volume.pool is None:
        if volume.encryption:
            raise Refused(
                "not-supported",
                f"{volume.path} is to be encrypted, and {host.name} has no storage pools, which know its passphrase",
                hint="use a host with a libvirt daemon",
            )
        if volume.backing and not os.access(volume.backing, os.R_OK):
            raise _no_image(host, volume)
        if volume.backing and volume.size:
            _check_size(volume, qemu_img.virtual_size(volume.backing, volume.backing_format or "raw", work))
        qemu_img.make(volume, work)
        return
    found = pool(host, volume.pool)
    with translated(doing=f"make disk {volume.path}"):
        pools.refresh(found)
        least = _image_size(host, volume)
        _check_size(volume, least)
        try:
            _make_in(found, volume_xml(pools.described(found).type, volume, volume.size or least), work)
        except libvirt.libvirtError as error:
            said = error.get_error_message() or ""
            if error.get_error_code() == libvirt.VIR_ERR_STORAGE_VOL_EXIST or "already exists" in said:
                raise Conflict(
                    "disk-exists",
                    f"{volume.path} exists already on {host.name} and is not overwritten",
                    hint="name the disk by path: to use it, or move it away",
                ) from None
            if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
                raise Refused(
                    "resource-missing",
                    f"{host.name} has no passphrase for {volume.path}: {said}",
                    hint=f"on {host.name}: virsh secret-define, and secret-set-value --interactive",
                ) from None
            if "inaccessible backing store" in said:
                raise _no_image(host, volume) from None
            if "No space left on device" in said or "Disk quota exceeded" in said:
                raise Refused(
                    "no-space",
                    f"there is no room for {volume.path} on {host.name}",
                    hint=f"df -h on {host.name} shows which file system is full",
                ) from None
            raise


def _make_in(pool: libvirt.virStoragePool, text: str, work: Work) -> None:
    for left in reversed(range(UNMEASURED_TRIES)):
        try:
            pool.createXML(text, 0)
        except libvirt.libvirtError as error:
            if not left or UNMEASURED not in (error.get_error_message() or ""):
                raise
            work.check()
        else:
            return


def _no_image(host: Host, volume: NewVolume) -> Refused:
    return Refused(
        "resource-missing",
        f"the image {volume.backing} cannot be read on {host.name}",
        hint="image: is a path on the host that runs the VM",
    )


def remove(host: Host, path: str, pool: str | None = None) -> bool:
    """Delete a disk file or volume; False if there was none. Directories are refused by libvirt and the system."""
    if host.embedded:
        return qemu_img.remove(path)
    with translated(doing=f"delete {path}"):
        if pool is not None:
            with suppress(NotFound):  # the pool is gone; the file may be there still
                known = pools.pool(host, pool)
                pools.refresh(known)
                found = _named(known, posixpath.basename(path))
                if found is not None and found.path() == path:
                    return _delete(found)
        with pools.reached(host, posixpath.dirname(path)) as directory:
            found = directory and _named(directory, posixpath.basename(path))
            return _delete(found) if found else False


def backing_users(host: Host, directories: Iterable[str] = ()) -> dict[str, set[str]]:
    """backing file -> the files that need it, over all pools (the embedded host: its images) and these directories."""
    users: dict[str, set[str]] = {}
    places = {posixpath.normpath(directory) for directory in directories}
    if host.embedded:
        for directory in {*places, embedded_images(host)}:
            for path in _files(directory):
                _note(users, path, qemu_img.backing_file(path))
        return users
    with translated(doing="look for disks that need others"):
        for known, what in pools.known_pools(host):
            if not what.active:
                continue  # its files are looked at where they lie near others'
            places.discard(posixpath.normpath(what.path or "/"))
            if what.type in DIRECTORIES:
                pools.refresh(known)
            _note_all(users, known)
        for directory in places:
            with pools.reached(host, directory) as passing:
                if passing is not None:
                    _note_all(users, passing)
    return users


def _note_all(users: dict[str, set[str]], pool: libvirt.virStoragePool) -> None:
    for volume in pool.listAllVolumes(0):
        try:
            tree = ElementTree.fromstring(volume.XMLDesc(0))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
                continue  # deleted meanwhile
            raise
        _note(users, tree.findtext("target/path") or "", tree.findtext("backingStore/path"))


def _note(users: dict[str, set[str]], path: str, backing: str | None) -> None:
    for needed in paths_in(backing or ""):
        users.setdefault(needed, set()).add(path)


def _files(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_file()]
    except OSError:
        return []


def _named(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
    return None


def _delete(volume: libvirt.virStorageVol) -> bool:
    try:
        volume.delete(0)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return False
        raise
    return True


def _image_size(host: Host, volume: NewVolume) -> int:
    """The size of the backing image where libvirt knows it, as an image of the format that was named; else 0."""
    if not volume.backing:
        return 0
    try:
        tree = ElementTree.fromstring(host.conn.storageVolLookupByPath(volume.backing).XMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return 0
    found = tree.find("target/format")
    if found is None or found.get("type") != (volume.backing_format or "raw"):
        return 0  # libvirt guessed from what a guest may have written
    return int(tree.findtext("capacity") or 0)


def _check_size(volume: NewVolume, least: int) -> None:
    """A disk smaller than the image below it would cut the guest's file system off."""
    if volume.size and volume.size < least:
        raise Refused(
            "not-supported",
            f"{volume.path} would have {volume.size} bytes, less than the image {volume.backing}, which has {least}",
            hint="leave out size: to take that of the image, or ask for more",
        )


def volume_xml(pool_type: str, volume: NewVolume, size: int) -> str:
    """What libvirt needs to make it: sparse, mode 0600, every format named. Without a size, it takes the image's."""
    element = ElementTree.Element("volume")
    ElementTree.SubElement(element, "name").text = volume.name
    if size:
        ElementTree.SubElement(element, "capacity", unit="bytes").text = str(size)
    if pool_type != "logical":  # where sparse means a snapshot
        ElementTree.SubElement(element, "allocation").text = "0"
    target = ElementTree.SubElement(element, "target")
    ElementTree.SubElement(target, "format", type=volume.format)
    if volume.format == "qcow2":
        ElementTree.SubElement(target, "compat").text = "1.1"  # libvirt's default is that of the year 2008
    if volume.cluster_size:
        ElementTree.SubElement(target, "clusterSize", unit="B").text = str(volume.cluster_size)
    ElementTree.SubElement(ElementTree.SubElement(target, "permissions"), "mode").text = "0600"
    if volume.encryption:
        encryption = ElementTree.SubElement(target, "encryption", format=volume.encryption.format)
        by = {"uuid": volume.encryption.uuid} if volume.encryption.uuid else {"usage": volume.encryption.usage}
        ElementTree.SubElement(encryption, "secret", {"type": "passphrase", **by})
    if volume.backing:
        store = ElementTree.SubElement(element, "backingStore")
        ElementTree.SubElement(store, "path").text = volume.backing
        ElementTree.SubElement(store, "format", type=volume.backing_format or "raw")
    return ElementTree.tostring(element, encoding="unicode")
