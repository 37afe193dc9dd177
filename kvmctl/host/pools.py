"""libvirt's storage pools: find one, make the default one, and reach a directory that is in none for a moment.

A pool that kvmctl made or started for its own short errand is gone or stopped again afterwards; the pools of others are
never changed, only refreshed. Nothing here makes or deletes volumes.
"""

from __future__ import annotations

import os
import posixpath
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4
from xml.etree import ElementTree

from kvmctl.errors import NotFound, Refused
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.plan.facts import Pool

if TYPE_CHECKING:
    from kvmctl.host.connection import Host

DEFAULT = "default"
SYSTEM_IMAGES = "/var/lib/libvirt/images"
PASSING = "kvmctl-look-"
"""How the names of pools for an errand start."""
OTHERS_SECONDS = 5.0
"""How long another command gets to finish its errand in the same directory."""
ONE_AT_A_TIME = threading.RLock()


def described(pool: libvirt.virStoragePool) -> Pool:
    """Type and path of a pool."""
    tree = ElementTree.fromstring(pool.XMLDesc(0))
    return Pool(
        name=pool.name(),
        type=tree.get("type", ""),
        path=tree.findtext("target/path") or "",
        active=bool(pool.isActive()),
    )


def known_pools(host: Host, *, passing: bool = False) -> list[tuple[libvirt.virStoragePool, Pool]]:
    """All pools; without `passing`, but for those that a command made for its errand."""
    found = []
    for candidate in host.conn.listAllStoragePools(0):
        if passing or not candidate.name().startswith(PASSING):
            with _unless_gone():
                found.append((candidate, described(candidate)))
    return found


@contextmanager
def _unless_gone() -> Iterator[None]:
    """A pool may go while it is looked at."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise


def pool(host: Host, name: str) -> libvirt.virStoragePool:
    """The pool of this name, started if it was not."""
    found: libvirt.virStoragePool | None = None
    with translated(doing=f"look up storage pool '{name}'"):
        try:
            found = host.conn.storagePoolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            found = _default(host) if name == DEFAULT else None
        if found is None:
            known = ", ".join(sorted(other.name for _, other in known_pools(host))) or "none"
            raise NotFound(
                "pool-not-found",
                f"{host.name} has no storage pool '{name}'; it has {known}",
                hint="leave out pool: to use the default one",
            )
    with translated(doing=f"start storage pool '{name}'"):
        if not found.isActive():
            found.create(0)
    return found


def default_pool(host: Host) -> tuple[Pool, bool]:
    """The pool for new disks, and whether it was made just now, which the caller should tell."""
    found = _default(host)
    if found is None:
        directory = _default_directory(host)
        with translated(doing=f"make the storage pool '{DEFAULT}' at {directory}"):
            try:
                found = host.conn.storagePoolDefineXML(_directory_pool(DEFAULT, directory), 0)
                found.build(0)
                found.create(0)
                found.setAutostart(1)
            except libvirt.libvirtError:
                # Another command may have made it at the same time.
                if _default(host) is None:
                    raise
            else:
                return described(found), True
        return default_pool(host)
    return described(pool(host, found.name())), False


def _default(host: Host) -> libvirt.virStoragePool | None:
    """The pool named default, else the one that has the directory which it would have."""
    with translated(doing="list storage pools"):
        known = known_pools(host)
    for candidate, what in known:
        if what.name == DEFAULT:
            return candidate
    return next((candidate for candidate, what in known if what.path == SYSTEM_IMAGES), None)


def _default_directory(host: Host) -> str:
    uri = urlsplit(host.conn.getURI())
    if uri.path != "/session":
        return SYSTEM_IMAGES
    if uri.netloc:
        raise Refused(
            "resource-missing",
            f"{host.name} has no storage pool '{DEFAULT}', and where its user keeps images is not known here",
            hint="make one on that host: virsh pool-define-as default dir --target DIRECTORY",
        )
    base = os.environ.get("XDG_DATA_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.local/share"), "libvirt/images")


def _directory_pool(name: str, directory: str) -> str:
    element = ElementTree.Element("pool", type="dir")
    ElementTree.SubElement(element, "name").text = name
    ElementTree.SubElement(ElementTree.SubElement(element, "target"), "path").text = directory
    return ElementTree.tostring(element, encoding="unicode")


def refresh(pool: libvirt.virStoragePool) -> None:
    """Let libvirt look at the directory again; a pool that is busy keeps what it knows."""
    with suppress(libvirt.libvirtError):
        pool.refresh(0)


@contextmanager
def reached(host: Host, directory: str) -> Iterator[libvirt.virStoragePool | None]:
    """A running, fresh pool over this directory: one that is there, else one for the time of the block.

    None if there is no such directory. This is how files in no pool are seen and deleted on any host alike, since
    the directory is the host's and may not be ours.
    """
    directory = posixpath.normpath(directory)
    with ONE_AT_A_TIME, translated(doing=f"look into {directory} on {host.name}"):
        found, borrowed = _borrow(host, directory)
        try:
            yield found
        finally:
            if borrowed and found is not None:
                with suppress(libvirt.libvirtError):
                    found.destroy()


def _borrow(host: Host, directory: str) -> tuple[libvirt.virStoragePool | None, bool]:
    """A pool over the directory, and whether it is to be stopped afterwards, which ends one that has no definition."""
    ends = time.monotonic() + OTHERS_SECONDS
    while True:
        waits = time.monotonic() < ends
        for known, what in known_pools(host, passing=True):
            passing = what.name.startswith(PASSING)
            if posixpath.normpath(what.path or "/") != directory or (passing and waits):
                continue
            with _unless_gone():
                if not what.active:
                    known.create(0)
                refresh(known)
                return known, passing or not what.active
        try:
            return host.conn.storagePoolCreateXML(_directory_pool(f"{PASSING}{uuid4()}", directory), 0), True
        except libvirt.libvirtError as error:
            if "No such file or directory" in str(error) or "Not a directory" in str(error):
                return None, False
            # Another command looks into the same directory; what it leaves when killed is used after a while.
            if "conflict" not in str(error) or not waits:
                raise
            time.sleep(0.1)
