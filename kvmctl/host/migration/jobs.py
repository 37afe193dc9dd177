"""Migrations as others than their own process see them: which there are, calling one off, finishing what was left.

Known are those of the journals on this machine, and those that the source host itself says are under way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kvmctl.errors import HostUnreachable, KvmctlError, Refused
from kvmctl.host import bounded, states
from kvmctl.host.connection import connect, translated
from kvmctl.host.domains import find, summary
from kvmctl.host.library import libvirt
from kvmctl.host.migration import journal as journals
from kvmctl.host.migration.settle import settle
from kvmctl.host.migration.sides import LOOK_SECONDS, Sides, word_of
from kvmctl.host.migration.stats import sample_of
from kvmctl.host.migration.stopping import stop_in_time

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.migration.journal import Journal
    from kvmctl.host.migration.settle import Settled
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.sample import Sample

BEAT = 0.2
SILENT_SECONDS = 15.0
"""How long a host may stay silent when nobody has waited for it before."""
SETTLE_SECONDS = 45.0
"""How long the process that drives a move gets to end it after it was called off."""


def status(source: Target, vms: Sequence[str]) -> list[dict[str, Any]]:
    """What is under way or unfinished: `name uuid state host target phase started process`.

    `phase` is `unfinished` where nobody is at it. `process` is kvmctl's on this machine; None: not ours, or dead.
    """
    entries = {entry.uuid: entry for entry in journals.all_journals()}
    found = [_of_journal(entry) for entry in entries.values()]
    try:
        with connect(source, timeout=LOOK_SECONDS, readonly=True) as host:
            jobs = bounded.call(lambda: list(_jobs(host)), LOOK_SECONDS)
    except KvmctlError:
        if not found:
            raise
        jobs = []  # what our journals say is most wanted when a host is away
    except TimeoutError:
        raise HostUnreachable("host-unreachable", f"{source.name}: no answer within {LOOK_SECONDS:g} s") from None
    found += [job for job in jobs if job["uuid"] not in entries]
    return [job for job in found if not vms or job["name"] in vms or job["uuid"] in vms]


def cancel(source: Target, name: str, work: Work) -> dict[str, Any]:
    """Call a move off, and come back when the VM is settled at its source. Raises Refused if it has moved already."""
    entry = _journal_of(name)
    if entry is None:
        return _cancel_foreign(source, name, work)
    with Sides(entry) as sides:
        here = sides.look("source")
        if here.state in ("postcopy", "postcopy-failed"):
            raise _no_way_back(entry.name, entry.target_name)
        if here.job:
            journals.call_off(entry)
            with suppress(KvmctlError):  # it may have ended just now
                sides.abort("source")
    ends = min(time.monotonic() + SETTLE_SECONDS, work.ends)
    while (now := journals.read(entry.uuid)) and journals.alive(now) and time.monotonic() < ends:
        work.check()
        time.sleep(BEAT)
    if now := journals.read(entry.uuid):
        return _finish(now, work)
    with Sides(entry) as sides:
        here = sides.look("source")
    if here.state in ("absent", "unknown"):
        raise Refused(
            "not-migrating",
            f"could not be called off any more: it is at {entry.target_name}",
            hint=f"kvmctl show {entry.name} -H {entry.target_name}",
            vm=entry.name,
        )
    return _answer(entry, entry.source_name, word_of(here.state), "stayed", ())


def recover(source: Target, name: str, work: Work) -> dict[str, Any]:
    """Finish a move that nobody is at any more; of a VM that has none, say how it is."""
    entry = _journal_of(name)
    if entry is not None:
        return _finish(entry, work)
    with connect(source, work=work) as host:
        return {**summary(host, find(host, name)), "source": host.name, "outcome": None, "notes": []}


def unfinished() -> list[str]:
    """The names of VMs with a move that nobody is at any more."""
    return [entry.name for entry in journals.all_journals() if not journals.alive(entry)]


def check_settled() -> None:
    """Raise for moves of this process that were not brought to an end, because it was interrupted twice for example."""
    left = [entry.name for entry in journals.all_journals() if entry.pid == os.getpid() and journals.alive(entry)]
    if left:
        names = " ".join(left)
        raise HostUnreachable(
            "migration-unsettled",
            f"{names}: interrupted before it was seen which host runs it",
            hint=f"kvmctl migrate --recover {names}",
        )


def _finish(entry: Journal, work: Work) -> dict[str, Any]:
    ours = journals.claim(entry)
    if ours is None:  # somebody was faster
        with Sides(entry) as sides:
            here = sides.look("source")
            if here.state != "absent":
                return _answer(entry, entry.source_name, word_of(here.state), "stayed", ())
            return _answer(entry, entry.target_name, word_of(sides.look("target").state), "moved", ())
    settled: Settled = settle(ours, work, silent=SILENT_SECONDS)
    host = ours.target_name if settled.outcome == "moved" else ours.source_name
    return _answer(ours, host, word_of(settled.state), settled.outcome, settled.notes)


def _answer(entry: Journal, host: str, state: str, outcome: str, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "uuid": entry.uuid,
        "state": state,
        "host": host,
        "source": entry.source_name,
        "outcome": outcome,
        "notes": list(notes),
    }


def _journal_of(name: str) -> Journal | None:
    return next((entry for entry in journals.all_journals() if name in (entry.name, entry.uuid)), None)


def _of_journal(entry: Journal) -> dict[str, Any]:
    alive = journals.alive(entry)
    with Sides(entry) as sides:
        here = sides.look("source")
        sample = sides.sample()
    return {
        "name": entry.name,
        "uuid": entry.uuid,
        "state": word_of(here.state) if here.state != "unknown" else "unknown",
        "host": entry.source_name,
        "target": entry.target_name,
        "phase": _phase(entry, sample, alive=alive),
        "started": entry.started,
        "process": entry.pid if alive else None,
    }


def _phase(entry: Journal, sample: Sample | None, *, alive: bool) -> str:
    if sample is None:
        return "preparing" if alive else "unfinished"
    # libvirt's numbers are the same before and after.
    return "postcopy" if entry.step == "postcopy" and sample.phase == "precopy" else sample.phase


def _jobs(host: Host) -> Iterator[dict[str, Any]]:
    """VMs that leave the host just now, by whatever tool."""
    with translated(host=host.name):
        for domain in host.conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            try:
                stats = domain.jobStats()
            except libvirt.libvirtError:
                continue  # ended just now
            if stats.get("type") and stats.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
                yield {
                    **summary(host, domain),
                    "target": None,
                    "phase": sample_of(stats, "preparing").phase,
                    "started": None,
                    "process": None,
                }


def _cancel_foreign(source: Target, name: str, work: Work) -> dict[str, Any]:
    """A move that another tool began, or kvmctl on another machine: libvirt itself undoes it."""
    with connect(source, work=work) as host:
        domain = find(host, name)
        if not any(job["uuid"] == domain.UUIDString() for job in _jobs(host)):
            raise Refused("not-migrating", "is not being migrated", hint="kvmctl migrate --status", vm=domain.name())
        with translated(vm=domain.name(), doing="call its migration off"):
            if states.words(*domain.state())[0] == states.MIGRATING:
                raise _no_way_back(domain.name(), "the other host")
            speed = domain.migrateGetMaxSpeed()
            stop_in_time(domain)
            domain.migrateSetMaxSpeed(speed)
        return {**summary(host, domain), "source": host.name, "outcome": "stayed", "notes": []}


def _no_way_back(name: str, target: str) -> Refused:
    return Refused(
        "not-migrating",
        f"runs at {target} already, while the rest of its memory follows: there is no way back",
        hint=f"kvmctl wait {name} --for running -H {target}, then move it back",
        vm=name,
    )
