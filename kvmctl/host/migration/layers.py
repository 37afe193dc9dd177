"""The files that a disk is made of, as a host's storage pools tell of them; and whether two hosts have the same image.

Only reads. What a guest may have written is never believed: a file is read as the format that the definition names.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl import parallel
from kvmctl.errors import TimedOut
from kvmctl.host.library import libvirt
from kvmctl.host.migration import streaming
from kvmctl.host.pools import reached
from kvmctl.plan.migration.copies import Layer

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work

DEEPEST = 64
"""So many layers at most; more would be a ring."""
COMPARE_SECONDS = 60.0
"""How long two images may take to compare. Longer, and copying one is the better way."""


def described(host: Host, path: str) -> Element | None:
    """What libvirt knows of a file; None if there is none."""
    directory, name = posixpath.split(path)
    with reached(host, directory) as pool:
        if pool is None:
            return None
        try:
            return ElementTree.fromstring(pool.storageVolLookupByName(name).XMLDesc(0))
        except libvirt.libvirtError as problem:
            if problem.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
    return None


def chain(host: Host, path: str, form: str, there: Callable[[str], str]) -> tuple[Layer, ...]:
    """The layers of a disk from the top down. The last one has a `backing` if that is no file here."""
    found: list[Layer] = []
    while len(found) < DEEPEST:
        volume = described(host, path)
        if volume is None:
            break
        layer = _layer(volume, path, form, there)
        found.append(layer)
        below = volume.find("backingStore/format")
        if not layer.backing.startswith("/") or below is None:
            break
        path, form = posixpath.normpath(layer.backing), below.get("type", "raw")
    return tuple(found)


def _layer(volume: Element, path: str, form: str, there: Callable[[str], str]) -> Layer:
    length = int(volume.findtext("physical") or volume.findtext("capacity") or 0)
    plain = Layer(
        path=path,
        there=there(path),
        format=form,
        length=length,
        size=length,
        allocated=int(volume.findtext("allocation") or 0),
    )
    if form == "raw":
        return plain
    return replace(
        plain,
        size=int(volume.findtext("capacity") or 0),
        cluster=int(volume.findtext("target/clusterSize") or 0),
        backing=volume.findtext("backingStore/path") or "",
    )


def same(source: Host, target: Host, layer: Layer, work: Work) -> bool:
    """Whether the target has an image with the same content. In doubt it has not."""
    ours, theirs = described(source, layer.path), described(target, layer.there)
    if ours is None or theirs is None or list(_sizes(ours)) != list(_sizes(theirs)):
        return False
    if _times(ours) == _times(theirs) and all("." in time for time in _times(ours)):
        return True  # one file, seen from both: a copy has another time of change
    limit = min(COMPARE_SECONDS, work.remaining())
    places = [(source, layer.path), (target, layer.there)]

    def digest(place: tuple[Host, str], own: Work) -> str:
        own.cancelled = work.cancelled
        return streaming.digest(streaming.reading(*place), own)

    outcomes, _ = parallel.run(places, digest, limit=limit)
    for outcome in outcomes:
        if isinstance(outcome.error, TimedOut):
            return False
        if outcome.error is not None:
            raise outcome.error
    return outcomes[0].value == outcomes[1].value


def _sizes(volume: Element) -> Iterator[str]:
    for name in ("capacity", "physical"):
        yield volume.findtext(name) or ""


def _times(volume: Element) -> list[str]:
    return [volume.findtext(f"target/timestamps/{name}") or "" for name in ("mtime", "ctime")]
