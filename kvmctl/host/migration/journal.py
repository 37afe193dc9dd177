"""Journals of migrations: a file for each that began and is not settled, in kvmctl's state directory.

Written before anything is changed and removed when one copy runs, so that after any end of a process another can
finish. A journal belongs to the process that wrote it last, for as long as that lives. libvirt is not asked here, but
for what `begin` notes of both ends.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kvmctl.errors import Conflict, KvmctlError
from kvmctl.host import targets
from kvmctl.host.connection import translated
from kvmctl.host.keeping import drop, keep, locked
from kvmctl.host.library import libvirt
from kvmctl.plan.migration.journal import Journal, Step

if TYPE_CHECKING:
    from pathlib import Path

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.looked import Looked

__all__ = ["Journal", "Step", "alive", "all_journals", "begin", "claim", "note", "read", "remove", "step", "write"]

SUFFIX = ".json"
CALLED_OFF = ".called-off"


def begin(source: Host, target: Host, domain: libvirt.virDomain, looked: Looked) -> Journal:
    """Write the journal of a migration that is about to start. Raises Conflict if there is one of this VM already."""
    uuid = domain.UUIDString()
    with translated(vm=domain.name(), doing="look at it", host=source.name):
        running = domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
        speed = domain.migrateGetMaxSpeed() if looked.running else None
    with translated(vm=domain.name(), doing="look at it", host=target.name):
        known_there = any(other.UUIDString() == uuid for other in target.conn.listAllDomains())
    journal = Journal(
        uuid=uuid,
        name=domain.name(),
        source_uri=source.target.uri,
        target_uri=target.target.uri,
        source_name=source.name,
        target_name=target.name,
        started=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        running=running,
        active=looked.running,
        persistent=looked.persistent,
        autostart=looked.autostart,
        safe_switch=looked.running and not looked.lockable,
        known_there=known_there,
        peer_uri=looked.peer_uri,
        migrate_uri=looked.migrate_uri,
        speed=speed,
    )
    with locked(_directory()):
        refuse_taken(uuid)
        return write(journal)


def refuse_taken(uuid: str) -> None:
    """Raise Conflict if a VM is being migrated, or an earlier migration of it was not settled."""
    if before := read(uuid):
        raise _taken(before)


def step(journal: Journal, step: Step, **changes: Any) -> Journal:
    """Note how far it is, and what else has become known."""
    return write(replace(journal, step=step, **changes))


def note(journal: Journal, **changes: Any) -> Journal:
    """Note what has become known, beside what others have noted since."""
    return write(replace(read(journal.uuid) or journal, **changes))


def write(journal: Journal) -> Journal:
    """Keep a journal, as ours; it is on the disk when this comes back. A crash leaves the old one or the new."""
    ours = replace(journal, pid=os.getpid(), born=_born(os.getpid()))
    keep(_path(journal.uuid), asdict(ours))
    return ours


def read(uuid: str) -> Journal | None:
    """The journal of a VM, if it has one."""
    path = _path(uuid)
    try:
        return _journal(path)
    except FileNotFoundError:
        return None


def remove(journal: Journal) -> None:
    """The migration is settled."""
    path = _path(journal.uuid)
    path.with_suffix(CALLED_OFF).unlink(missing_ok=True)
    drop(path)


def call_off(journal: Journal) -> None:
    """Note, for the process that drives it, that somebody else has called it off."""
    _path(journal.uuid).with_suffix(CALLED_OFF).touch(mode=0o600)


def was_called_off(journal: Journal) -> bool:
    return _path(journal.uuid).with_suffix(CALLED_OFF).exists()


def all_journals() -> tuple[Journal, ...]:
    """Every migration that is under way or unfinished, the oldest first."""
    found = []
    for path in _directory().glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # settled meanwhile
            found.append(_journal(path))
    return tuple(sorted(found, key=lambda journal: (journal.started, journal.name)))


def alive(journal: Journal) -> bool:
    """Whether the process that drives it lives."""
    return bool(journal.born) and _born(journal.pid) == journal.born


def claim(journal: Journal) -> Journal | None:
    """Make an unfinished migration ours; None if it was settled meanwhile. Raises Conflict if somebody is at it."""
    with locked(_directory()):
        now = read(journal.uuid)
        if now is not None and alive(now) and now.pid != os.getpid():
            raise _taken(now)
        return now and write(now)


def _taken(journal: Journal) -> Conflict:
    way = f"from {journal.source_name} to {journal.target_name}"
    if alive(journal):
        told, hint = f"is being migrated {way} by process {journal.pid}", f"kvmctl migrate --cancel {journal.name}"
    else:
        told, hint = f"has an unfinished migration {way}", f"kvmctl migrate --recover {journal.name}"
    return Conflict("migration-under-way", told, hint=hint, vm=journal.name)


def _journal(path: Path) -> Journal:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # What a newer kvmctl has noted beside is of no use to this one.
        known = {field.name: found[field.name] for field in fields(Journal) if field.name in found}
        known["made"] = tuple(known.get("made", ()))
        known["unplugged"] = tuple(tuple(each) for each in known.get("unplugged", ()))
        return Journal(**known)
    except (ValueError, TypeError) as problem:
        raise KvmctlError(
            "migration-failed",
            f"{path}: not the journal of a migration: {problem}",
            hint="look which host runs the VM, then remove the file",
        ) from problem


def _directory() -> Path:
    return targets.state_directory() / "migrations"


def _path(uuid: str) -> Path:
    return _directory() / f"{uuid}{SUFFIX}"


def _born(pid: int) -> int:
    """When a process started, in the kernel's ticks; 0 if there is none. With the number it names one process alone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return 0
