"""The VM's disks, and the files below them: whether both hosts see the same, by evidence; else room for copies. Pure.

"Shared" is said of what was seen to be the same from both hosts, never of what only has the same name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kvmctl.plan.migration import check_room
from kvmctl.plan.migration.copies import is_whole
from kvmctl.plan.migration.disk import Disk, name_there
from kvmctl.plan.migration.verdicts import blocker, note, ok, unless, warning

if TYPE_CHECKING:
    from kvmctl.plan.migration.ends import Ends, Sight
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.migration.looked import Sharing

NETWORK_POOLS = ("rbd", "gluster", "iscsi", "iscsi-direct", "sheepdog", "netfs")
"""Types of pools that have their content from elsewhere: the same source is the same content."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def storage(ends: Ends) -> Iterator[Finding]:
    for disk in ends.guest.disks:
        if disk.empty or disk.type in ("nvme", "vhostuser", "vhostvdpa"):
            continue  # nothing in it, or a matter of devices
        missing = list(_pool(ends, disk))
        yield from missing
        if not missing:
            yield from _disk(ends, disk, sharing_of(ends, disk))
    yield from _secrets(ends)
    yield from check_room.room(ends, _copied(ends))


def sharing(ends: Ends) -> dict[str, Sharing]:
    """Every disk by its target."""
    return {disk.target: sharing_of(ends, disk) for disk in ends.guest.disks}


def sharing_of(ends: Ends, disk: Disk) -> Sharing:
    if disk.empty:
        return "empty"
    if disk.readonly or disk.device in ("cdrom", "floppy"):
        return "readonly"
    if disk.protocol:
        return "separate" if _served_here(disk) else "shared"
    if disk.pool and _same_pool(ends, disk):
        return "shared"
    sight = ends.sights.get(disk.path)
    return "unknown" if sight is None else sight.sharing


def lockable(ends: Ends) -> bool:
    """Whether QEMU's locks keep a second QEMU from every disk that the guest writes.

    They are those of the file system, which hold between hosts that see the same file. No such thing guards a block
    device, a disk on the network, one that is shared on purpose, or two copies of a disk.
    """
    for disk in ends.guest.disks:
        if not disk.written:
            continue
        if disk.protocol or disk.is_device or disk.shareable or sharing_of(ends, disk) != "shared":
            return False
        if disk.pool and _is_device_pool(ends, disk):
            return False
    return True


def proven(ends: Ends) -> bool:
    """Whether every disk may go without libvirt's own test, which knows less than what was seen here."""
    return all(
        sharing_of(ends, disk) in ("shared", "readonly", "empty") or copied(ends, disk) for disk in ends.guest.disks
    )


def copied(ends: Ends, disk: Disk) -> bool:
    """Whether its content moves too."""
    return ends.wish.copy_disks and disk.written and sharing_of(ends, disk) == "separate"


def to_copy(ends: Ends) -> int:
    """Bytes of all these."""
    return sum(check_room.needed(ends, disk) for disk in _copied(ends))


def _copied(ends: Ends) -> list[Disk]:
    return [disk for disk in ends.guest.disks if copied(ends, disk)]


def _served_here(disk: Disk) -> bool:
    """True for a disk on the network whose server is this very host, or a socket on it."""
    return any(host in LOCAL_HOSTS or host.startswith("/") for host in disk.hosts)


def _pool(ends: Ends, disk: Disk) -> Iterator[Finding]:
    if not disk.pool:
        return
    name, target = name_there("pool", disk.pool, ends.wish.maps), ends.target
    if target.pools is None:
        yield blocker(
            "pool-missing", f"{target.name} has no storage driver", "name its disks by path", subject=disk.pool
        )
    elif name not in target.pools:
        what = f"{target.name} has no storage pool '{name}', in which {disk.target} is"
        hint = f"define it there, virsh pool-define, or --map pool:{disk.pool}=OTHER"
        yield blocker("pool-missing", what, hint, subject=disk.target)
    elif not target.pools[name].active:
        what = f"the storage pool '{name}' of {target.name} is not active"
        yield blocker("pool-inactive", what, f"on {target.name}: virsh pool-start {name}", subject=disk.target)


def _same_pool(ends: Ends, disk: Disk) -> bool:
    """Whether both pools have the same content from the same place on the network."""
    here = (ends.source.pools or {}).get(disk.pool)
    there = (ends.target.pools or {}).get(name_there("pool", disk.pool, ends.wish.maps))
    if here is None or there is None or here.type not in NETWORK_POOLS:
        return False
    return (here.type, here.source) == (there.type, there.source) and bool(here.source)


def _is_device_pool(ends: Ends, disk: Disk) -> bool:
    here = (ends.source.pools or {}).get(disk.pool)
    return here is None or here.type not in ("dir", "fs", "netfs")


def _disk(ends: Ends, disk: Disk, seen: Sharing) -> Iterator[Finding]:
    sight, target = ends.sights.get(disk.path), ends.target.name
    if seen == "readonly":
        yield from _readonly(ends, disk, sight)
        return
    if seen == "shared":
        how = sight.how if sight is not None and sight.how else "the same source on the network"
        yield ok("disk-shared", f"both hosts see the same {disk.shown} ({how})", subject=disk.target)
        if disk.cache == "unsafe" and ends.guest.running:
            what = f"disk {disk.target} has cache mode unsafe, so {target} may read what is not written yet"
            hint = "set its cache to none, and restart the VM"
            yield unless(ends.wish.unsafe, "cache-unsafe", what, hint, subject=disk.target)
    elif copied(ends, disk):
        yield ok("disk-copied", f"{disk.shown} is copied to {target}", subject=disk.target)
        yield from _encrypted(ends, disk)
    elif seen == "unknown":
        what = f"nothing shows whether {target} sees the same {disk.shown}"
        if sight is not None and sight.how:
            what += f": {sight.how}"
        hint = "--unsafe if you know that it does"
        yield unless(ends.wish.unsafe, "disk-sharing-unknown", what, hint, subject=disk.target)
    else:
        yield _separate(ends, disk, sight)
    if not copied(ends, disk):
        yield from _below(ends, disk)


def _encrypted(ends: Ends, disk: Disk) -> Iterator[Finding]:
    """What a copy of an encrypted disk means."""
    if disk.encryption is None:
        return
    here, there = ends.source.name, ends.target.name
    if not ends.guest.running:
        what = (
            f"{disk.shown} goes as it is, encrypted with the passphrase of {here}, which the secret "
            f"{disk.encryption.secret} of {there} has to hold too"
        )
        yield warning("passphrase-kept", what, "a VM that runs has it encrypted anew", subject=disk.target)
        return
    if not ends.wish.tls:
        what = f"the content of {disk.shown} goes to {there} decrypted, and is encrypted anew there"
        yield warning("disk-plain-text", what, "--tls encrypts it on the way", subject=disk.target)
    if is_whole(disk.format, disk.encryption):
        what = f"all of {disk.shown} is sent, and written on {there}: encryption shows no holes"
        yield note("disk-not-sparse", what, subject=disk.target)


def _separate(ends: Ends, disk: Disk, sight: Sight | None) -> Finding:
    target, way = ends.target.name, ""
    if sight is not None and sight.present is False:
        way = f", which has no {sight.there}" if sight.directory else f", which has no directory for {sight.there}"
    elif sight is not None and sight.present:
        way = f": {sight.there} there is another file"
    hint = f"--copy-disks copies it, --map {_rule(disk)}=THERE names another place, or put it on shared storage"
    return unless(
        ends.wish.unsafe and bool(sight and sight.present),
        "disk-not-shared",
        f"{disk.shown} is not shared with {target}{way}",
        hint,
        subject=disk.target,
    )


def _rule(disk: Disk) -> str:
    """What --map would name it by."""
    return f"pool:{disk.pool}" if disk.pool else disk.path


def _readonly(ends: Ends, disk: Disk, sight: Sight | None) -> Iterator[Finding]:
    """CDs, floppies and read-only disks: the same content must be there, and need not be the same file."""
    if disk.protocol or (disk.pool and _same_pool(ends, disk)):
        return
    drive = disk.device in ("cdrom", "floppy")
    eject = f"eject it: virsh change-media {ends.guest.name} {disk.target} --eject"
    if disk.is_device and drive:
        what = f"the drive {disk.target} is {disk.path} of {ends.source.name}"
        yield blocker("cdrom-local", what, eject, subject=disk.target)
    elif sight is not None and sight.present is False and ends.wish.copy_disks and sight.directory:
        yield ok("disk-copied", f"{disk.shown} is copied to {ends.target.name}", subject=disk.target)
    elif sight is not None and sight.present is False:
        what = f"{ends.target.name} has no {sight.there}, which is in {disk.target}"
        hint = f"{eject}; or --copy-disks" if drive else "--copy-disks copies it"
        yield blocker("cdrom-local" if drive else "disk-not-shared", what, hint, subject=disk.target)
    elif sight is not None and _differs(sight):
        what = f"{sight.there} of {ends.target.name} is not the one that is in {disk.target}: its size differs"
        yield blocker(
            "cdrom-differs" if drive else "disk-differs",
            what,
            eject if drive else "copy it there again",
            subject=disk.target,
        )
    elif disk.is_device and (sight is None or sight.sharing != "shared"):
        what = f"nothing shows whether {ends.target.name} sees the same {disk.shown}"
        hint = "--unsafe if you know that it does"
        yield unless(ends.wish.unsafe, "disk-sharing-unknown", what, hint, subject=disk.target)


def _below(ends: Ends, disk: Disk) -> Iterator[Finding]:
    """The images below it, which are only read."""
    for path in layers(ends.sights, disk):
        sight = ends.sights.get(path)
        if sight is None or path == disk.path:
            continue
        if sight.present is False:
            what = f"{ends.target.name} has no {sight.there}, the image below {disk.target}"
            yield blocker("backing-missing", what, "copy it there, to the same path", subject=disk.target)
        elif _differs(sight):
            what = f"{sight.there} of {ends.target.name} is another image than the one below {disk.target}"
            yield blocker("backing-differs", what, "copy it there", subject=disk.target)


def layers(sights: Mapping[str, Sight], disk: Disk) -> tuple[str, ...]:
    """The files of a disk, top first, as far as they are known."""
    found = [path for path in (disk.path, *disk.backing) if path]
    for path in found:  # which grows
        sight = sights.get(path)
        found += [below for below in (sight.backing if sight else ()) if below not in found]
    return tuple(found)


def _differs(sight: Sight) -> bool:
    sizes = (sight.size_here, sight.size_there)
    return None not in sizes and sizes[0] != sizes[1]


def _secrets(ends: Ends) -> Iterator[Finding]:
    known = ends.target.secrets
    if known is None:
        return
    target = ends.target.name
    for name in dict.fromkeys(secret.get("uuid") or secret.get("usage") for secret in ends.xml.iter("secret")):
        fault = ends.target.secret_faults.get(name or "")
        if name and name not in known:
            what = f"{target} has no secret {name}, which a disk or the TPM needs"
            yield blocker("secret-missing", what, "virsh secret-define and secret-set-value there", subject=name)
        elif name and fault == "unset":
            what = f"the secret {name} of {target}, which a disk needs, has no value"
            hint = f"on {target}: virsh secret-set-value {name} --interactive"
            yield blocker("secret-unset", what, hint, subject=name)
        elif name and fault:
            what = f"the secret {name} of {target}, which a disk needs, is for another use than disks"
            hint = f"on {target}: define it with usage type='volume', virsh secret-define"
            yield blocker("secret-other-use", what, hint, subject=name)
