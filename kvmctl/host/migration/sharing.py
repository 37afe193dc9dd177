"""Whether two hosts see the same files, shown by a file that is made on the one and looked for on the other.

The file is empty, has a name that nobody else has, and is removed again in any case. It is made in directories of disks
that are written, and never beside block devices. Where none can be made, sizes and times of the files themselves must
do: they may show that two are the same, or not; what is not shown stays unknown. Only libvirt's storage pools are used,
so it works for any two hosts.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4
from xml.etree import ElementTree

from kvmctl.errors import KvmctlError
from kvmctl.host.library import libvirt
from kvmctl.host.messages import is_connection_loss
from kvmctl.host.pools import PASSING, reached
from kvmctl.plan.deletion import paths_in
from kvmctl.plan.migration.ends import Sight

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.ends import Seen

Renamed = Callable[[str], str]
"""From a path at the source to the one at the target."""

LAYERS = 16
"""Images one below the other; more are not looked for."""

MARKER = """\
<volume><name>{name}</name><capacity unit='bytes'>0</capacity><allocation unit='bytes'>0</allocation>
<target><format type='raw'/><permissions><mode>0600</mode></permissions></target></volume>"""


def sights(
    source: Host, target: Host, written: Iterable[str], only_read: Iterable[str], there: Renamed, work: Work
) -> dict[str, Sight]:
    """Each path, and the images below, as both hosts see it. Only what is `written` has a marker put beside it."""
    found: dict[str, Sight] = {}
    marked, plain = set(written), set(only_read)
    for _ in range(LAYERS):
        rest = (marked | plain) - found.keys()
        if not rest:
            break
        for places in sorted({_places(path, there) for path in rest}):
            work.check()
            files = {path: there(path) for path in rest if _places(path, there) == places}
            found |= _directory(source, target, places, files, mark=bool(files.keys() & marked))
        plain |= {below for sight in found.values() for below in sight.backing}
    return found


def _places(path: str, there: Renamed) -> tuple[str, str]:
    """Its directory here and at the target."""
    return posixpath.dirname(posixpath.normpath(path)), posixpath.dirname(there(path))


def _directory(
    source: Host, target: Host, places: tuple[str, str], files: Mapping[str, str], *, mark: bool
) -> dict[str, Sight]:
    """The files of one directory, and its counterpart at the target."""
    try:
        with reached(source, places[0]) as ours, reached(target, places[1]) as theirs:
            same: Seen | None = None
            if ours is not None and theirs is not None and mark:
                same = _marked(ours, theirs)
            return {path: _sight(ours, theirs, path, there, same) for path, there in files.items()}
    except KvmctlError as problem:
        if problem.exit_code == 7:  # the host is gone
            raise
        return {path: Sight(there=there, how=problem.message) for path, there in files.items()}


def _marked(ours: libvirt.virStoragePool, theirs: libvirt.virStoragePool) -> Seen | None:
    """Whether both pools are one directory; None where no marker can be made."""
    name = f"{PASSING}{uuid4()}"
    try:
        marker = ours.createXML(MARKER.format(name=name), 0)
    except libvirt.libvirtError as problem:
        _alive(problem)
        return None
    try:
        with suppress(libvirt.libvirtError):
            theirs.refresh(0)
        if name in _or_nothing(theirs):
            return "shared"
        # Its list may be old, as those of NFS are for a while. Nobody can make a file that is there already.
        try:
            second = theirs.createXML(MARKER.format(name=name), 0)
        except libvirt.libvirtError as problem:
            _alive(problem)
            return "shared" if "exist" in (problem.get_error_message() or "") else None
        _remove(second)
        return "separate"
    finally:
        _remove(marker)
        for pool in (ours, theirs):
            with suppress(libvirt.libvirtError):  # whose lists are not to keep it
                pool.refresh(0)


def _or_nothing(pool: libvirt.virStoragePool) -> list[str]:
    try:
        names: list[str] = pool.listVolumes()
    except libvirt.libvirtError as problem:
        _alive(problem)
        return []
    return names


def _alive(problem: libvirt.libvirtError) -> None:
    """That a host is gone is no answer."""
    if is_connection_loss(problem):
        raise problem


def _remove(marker: libvirt.virStorageVol) -> None:
    with suppress(libvirt.libvirtError):
        marker.delete(0)


def _sight(
    ours: libvirt.virStoragePool | None,
    theirs: libvirt.virStoragePool | None,
    path: str,
    there: str,
    same: Seen | None,
) -> Sight:
    here_xml, there_xml = _volume(ours, path), _volume(theirs, there)
    as_one = same == "shared" and posixpath.basename(path) == posixpath.basename(there)
    sharing, how = _compared(here_xml, there_xml)
    if as_one:
        sharing, how = "shared", "a file made here was seen there"
    elif same is not None:
        sharing, how = "separate", "a file made here was not seen there"
    elif theirs is None:
        sharing = "separate"
    return Sight(
        there=there,
        sharing=sharing,
        how=how,
        present=True if as_one else there_xml is not None,
        size_here=_number(here_xml, "capacity"),
        size_there=_number(here_xml if as_one else there_xml, "capacity"),
        allocated=_number(here_xml, "allocation"),
        backing=tuple(sorted(paths_in(here_xml.findtext("backingStore/path") or ""))) if here_xml is not None else (),
        directory=theirs is not None,
        room=None if theirs is None else int(theirs.info()[3]),
        store=posixpath.dirname(there),
    )


def _compared(here: Element | None, there: Element | None) -> tuple[Seen, str]:
    """What sizes and times tell: a change time that is the same to the nanosecond cannot be made by copying."""
    if here is None or there is None:
        return ("unknown", "it is not seen here") if here is None else ("separate", "it is not there")
    if _number(here, "capacity") != _number(there, "capacity"):
        return "separate", "the sizes differ"
    times = [[each.findtext(f"target/timestamps/{name}") for name in ("mtime", "ctime")] for each in (here, there)]
    if times[0] == times[1] and all("." in (time or "") for time in times[0]):
        return "shared", "both see a file with the same size and the same times"
    return "unknown", "no file could be made beside it, and its times differ"


def _volume(pool: libvirt.virStoragePool | None, path: str) -> Element | None:
    if pool is None:
        return None
    try:
        return ElementTree.fromstring(pool.storageVolLookupByName(posixpath.basename(path)).XMLDesc(0))
    except libvirt.libvirtError as problem:
        _alive(problem)
        return None


def _number(volume: Element | None, name: str) -> int | None:
    text = None if volume is None else volume.findtext(name)
    return int(text) if text and text.isdecimal() else None
