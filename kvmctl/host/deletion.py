"""Delete a VM, and its disks if asked: computed whole before anything is done, and such that it can be finished later.

The disks go while the VM is still defined, so that what was killed half-way is a VM without disks, which the next
`delete` finishes. Which disks may go is decided in `plan/deletion.py`; this collects the facts and does the deed.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kvmctl.errors import Conflict, Refused
from kvmctl.host import domains, pools, storage
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.plan import deletion
from kvmctl.plan.deletion import Others, OwnDisk
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work

GONE = (libvirt.VIR_ERR_NO_DOMAIN,)
UNSUPPORTED = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT)
UNKNOWN = (
    libvirt.VIR_ERR_NO_STORAGE_POOL,
    libvirt.VIR_ERR_NO_STORAGE_VOL,
    libvirt.VIR_ERR_OPERATION_INVALID,  # the pool is not active
    libvirt.VIR_ERR_NO_SUPPORT,
)
LEFTOVERS = ("MANAGED_SAVE", "SNAPSHOTS_METADATA", "NVRAM", "CHECKPOINTS_METADATA", "TPM")
"""What goes with a definition, in the order in which libvirt learned to take it along."""


def delete(host: Host, name: str, work: Work, *, force: bool = False, disks: bool = False) -> dict[str, Any]:
    """Delete a VM; a running one only with `force`, its disks only with `disks`. What was done, as an object."""
    domain = domains.find(host, name)
    with translated(vm=name, doing="look at it"):
        vm, uuid = domain.name(), domain.UUIDString()
        running, persistent = bool(domain.isActive()), bool(domain.isPersistent())
        definition = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if persistent else 0))
    if running and not force:
        raise Refused("vm-running", "is running", hint=f"kvmctl stop {vm}, or pull the plug with --force", vm=vm)
    decision = _decide(host, vm, uuid, definition, disks=disks)
    work.check()
    with translated(vm=vm, doing="stop it"):
        if running:
            _destroy(domain)
    if persistent:
        with translated(vm=vm, doing="look at it"):
            if domain.isActive():
                raise Conflict("state-changed", "was started meanwhile", hint=f"kvmctl delete --force {vm}", vm=vm)
    deleted = [disk.path for disk in decision.doomed if storage.remove(host, disk.path, disk.pool)]
    with translated(vm=vm, doing="delete it"):
        if persistent:
            undefine(domain)
    from kvmctl.host.moving import refit_after

    return {
        "name": vm,
        "uuid": uuid,
        "state": "deleted",
        "host": host.name,
        "disks_deleted": deleted,
        "disks_kept": [{"path": disk.path, "reason": disk.keep} for disk in decision.kept],
        "notes": list(refit_after(host, [definition])),
    }


def _decide(host: Host, vm: str, uuid: str, definition: Element, *, disks: bool) -> deletion.Deletion:
    with translated(vm=vm, doing="look at its disks"):
        own = deletion.own_disks(definition, _volume_paths(host, [definition]))
        canonical = _canonical(host)
    pending = deletion.unfinished(definition)
    wanted = deletion.candidates(own, pending, disks=disks)
    others = _others(host, uuid, wanted, canonical) if wanted else Others(mentions={}, backing={})
    return deletion.decide(vm, own, pending, others, disks=disks, canonical=canonical)


def _others(host: Host, uuid: str, wanted: Sequence[OwnDisk], canonical: Callable[[str], str]) -> Others:
    """What all other VMs mention, live and at next boot, and what all disks near theirs and ours are built on."""
    with translated(doing="look at the other VMs"):
        definitions = [
            (other.name(), parse(xml))
            for other in host.conn.listAllDomains(0)
            if other.UUIDString() != uuid
            for xml in _definitions(other)
        ]
        volumes = _volume_paths(host, [definition for _, definition in definitions])
    mentioned: dict[str, frozenset[str]] = {}
    directories = {posixpath.dirname(disk.path) for disk in wanted}
    for name, definition in definitions:
        mentioned[name] = mentioned.get(name, frozenset()) | deletion.mentions(definition, volumes, canonical)
        theirs = deletion.own_disks(definition, volumes)
        directories |= {posixpath.dirname(disk.path) for disk in theirs if _is_file(disk.path)}
    backing: dict[str, frozenset[str]] = {}
    for path, users in storage.backing_users(host, directories).items():
        needed = canonical(path)
        backing[needed] = backing.get(needed, frozenset()) | frozenset(map(canonical, users))
    return Others(mentions=mentioned, backing=backing)


def _is_file(path: str) -> bool:
    return path.startswith("/") and not path.startswith(("/dev/", "/proc/", "/sys/"))


def _definitions(domain: libvirt.virDomain) -> list[str]:
    """The definition at next boot, and the live one of a VM that runs."""
    try:
        found = [domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)]
        if domain.isActive():
            found.append(domain.XMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() in GONE:
            return []
        raise
    return found


def _volume_paths(host: Host, definitions: Sequence[Element]) -> dict[tuple[str, str], str]:
    """The paths of disks that are named by pool and volume; those in no known pool are left out."""
    found = {}
    for pool, volume in {named for definition in definitions for named in deletion.volumes_named(definition)}:
        try:
            known = host.conn.storagePoolLookupByName(pool)
            # Where the pool does not run or has not seen it, this is its path in a pool of files.
            found[pool, volume] = posixpath.join(pools.described(known).path, volume)
            found[pool, volume] = known.storageVolLookupByName(volume).path()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in UNKNOWN:
                raise
    return found


def _canonical(host: Host) -> Callable[[str], str]:
    """Two names of one file made equal: by our own file system where it is the host's, else by their spelling."""
    uri = urlsplit(host.conn.getURI())
    return os.path.realpath if uri.scheme == "qemu" and not uri.netloc else posixpath.normpath


def _destroy(domain: libvirt.virDomain) -> None:
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in GONE and domain.isActive():
            raise


def undefine(domain: libvirt.virDomain) -> None:
    """With all that goes with it; an older libvirt is asked for what it knows."""
    known = [getattr(libvirt, f"VIR_DOMAIN_UNDEFINE_{name}", 0) for name in LEFTOVERS]
    for count in range(len(known), -1, -1):
        try:
            domain.undefineFlags(sum(known[:count]))
        except libvirt.libvirtError as error:
            if error.get_error_code() in UNSUPPORTED and count:
                continue
            raise
        return
