"""Volumes at the target of a move: made empty, or filled with what the source has, all of them or none.

What stands there already is never touched. A volume that was made here and is used by a VM by now stays.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kvmctl.errors import Conflict, Refused
from kvmctl.host import many, pools, storage
from kvmctl.host.connection import translated
from kvmctl.host.migration import layers, streaming
from kvmctl.host.tenants import definition
from kvmctl.host.undoing import Undo
from kvmctl.plan.deletion import mentions
from kvmctl.plan.migration.sample import Sample
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.copies import Copies, Sent

BEAT = 0.25
"""Seconds between two words on how far a file is."""


@contextmanager
def place_for(target: Host, directory: str) -> Iterator[libvirt.virStoragePool]:
    """The pool that volumes in a directory are made in, which may be there for this alone."""
    known = {posixpath.normpath(what.path or "/") for _, what in pools.known_pools(target)}
    if f"{directory}/".startswith("/dev/") and directory not in known:
        raise Refused(
            "not-supported",
            f"{target.name} has no storage pool that makes block devices in {directory}",
            hint="--map the disk to a file there, or define a pool of volumes: virsh pool-define-as",
        )
    with pools.reached(target, directory) as pool:
        if pool is None:
            raise Refused(
                "resource-missing",
                f"{target.name} has no directory {directory}, where a disk is to be copied to",
                hint=f"make it there, or --map {directory}=ANOTHER",
            )
        yield pool


def make(
    source: Host,
    target: Host,
    name: str,
    decided: Copies,
    *,
    work: Work,
    note: Callable[[tuple[str, ...]], object],
    say: Callable[[str], None],
    hear: Callable[[Sample], None],
) -> tuple[str, ...]:
    """The paths of what was made. `note` is told of all of them before, and of what is left after a failure."""
    wanted = [*decided.volumes, *(each.volume for each in decided.sent)]
    for volume in wanted:
        _check_free(target, volume.path)
    if wanted:
        note(tuple(volume.path for volume in wanted))
    made: list[str] = []

    def take_back(path: str) -> None:
        storage.remove(target, path)
        made.remove(path)

    try:
        with Undo(name) as undo:
            for volume in wanted:
                work.check()
                if volume.encryption:
                    say(f"making {volume.path} on {target.name} with its secret {volume.encryption.secret}")
                with place_for(target, posixpath.dirname(volume.path)) as pool:
                    storage.make(target, replace(volume, pool=pool.name()), work)
                made.append(volume.path)
                undo.add(partial(take_back, volume.path))
            _fill(source, target, decided.sent, work, say, hear)
    except BaseException:
        # A failed `make` leaves nothing of its own, so what stands there now is somebody else's.
        note(tuple(made))
        raise
    return tuple(made)


def _check_free(target: Host, path: str) -> None:
    with place_for(target, posixpath.dirname(path)):
        if layers.described(target, path) is not None:
            raise Conflict(
                "disk-exists",
                f"{path} exists already on {target.name} and is not overwritten",
                hint=f"remove it there if it is not needed, or --map {path}=OTHER",
            )


def _fill(
    source: Host,
    target: Host,
    sent: Sequence[Sent],
    work: Work,
    say: Callable[[str], None],
    hear: Callable[[Sample], None],
) -> None:
    total, done, began, told = sum(each.volume.size for each in sent), 0, time.monotonic(), 0.0

    def passed(length: int) -> None:
        nonlocal done, told
        done += length
        now = time.monotonic()
        if now >= told + BEAT or done == total:
            told = now
            elapsed = max(1, round((now - began) * 1000))
            hear(
                Sample(
                    phase="disks",
                    elapsed_ms=elapsed,
                    rate=done * 1000 // elapsed,
                    disk_total=total,
                    disk_processed=done,
                    disk_remaining=max(0, total - done),
                )
            )

    for each in sent:
        say(f"sending {each.path} to {each.volume.path} on {target.name}")
        with translated(doing=f"send {each.path} to {target.name}"):
            incoming = streaming.reading(source, each.path)
            outgoing = streaming.filling(target, each.volume.path)
            streaming.pump(incoming, outgoing, work=work, hear=passed)


def undo(target: Host, made: Sequence[str], uuid: str) -> tuple[str, ...]:
    """Take away what was made for a move of this VM. The paths of what stays, since another VM uses it."""
    with translated(doing="look at the other VMs", host=target.name):
        documents = [parse(text) for text in many.ask(target.conn.listAllDomains(0), definition) if text]
    others = [document for document in documents if document.findtext("uuid") != uuid]
    used = {path for document in others for path in mentions(document, {}, posixpath.normpath)}
    for path in reversed(made):
        if path not in used:
            storage.remove(target, path)
    return tuple(path for path in made if path in used)
