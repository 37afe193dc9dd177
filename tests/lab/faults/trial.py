"""One cell of the matrix, tried: the migration, its fault, and what must be true afterwards.

Always: exactly one copy runs, whole and persistent, and it is where the exit code says; on the other host nothing is
left, no journal is, and no file is. The guest has counted on all the time, and nobody else has written to its disk.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from tests.lab.faults.cell import Cell
from tests.lab.faults.field import SIDES, Field, Side, last_object
from tests.lab.waiting import until

SIGKILL = 137, -9


@dataclass(kw_only=True)
class Verdict:
    """What became of it; no `problems`: all is as it must be."""

    cell: Cell
    code: int = 0
    error: str = ""
    """The code of the error that kvmctl told."""
    recovered: bool = False
    where: str = ""
    seconds: float = 0.0
    answered: float = 0.0
    """Seconds from the fault to the end of the command."""
    said: str = ""
    problems: list[str] = dataclass_field(default_factory=list)
    unsafe: bool = False
    """Two copies ran, or none does that should: no race of an emulated host excuses that."""


def attempt(field: Field, cell: Cell) -> Verdict:
    """Try a cell. Whatever goes wrong is in the verdict."""
    verdict = Verdict(cell=cell)
    began = time.monotonic()
    try:
        _attempt(field, cell, verdict)
    except Exception as problem:  # noqa: BLE001 - the other cells are tried too
        verdict.problems.append(f"{type(problem).__name__}: {problem}")
    verdict.seconds = time.monotonic() - began
    try:
        field.clean()
    except Exception as problem:  # noqa: BLE001 - likewise
        verdict.problems.append(f"cannot clean up: {type(problem).__name__}: {problem}")
    return verdict


def _attempt(field: Field, cell: Cell, verdict: Verdict) -> None:
    field.start_guest(locks=cell.locks, fill=cell.fill, busy=cell.busy, disk=cell.disk)
    if cell.link:
        field.slow(cell.link)
    cell.arm(field)
    field.start("migrate", "vm", "target", "-o", "json", f"--{cell.mode}", *cell.options)
    verdict.code, answer, verdict.said = field.end()
    verdict.error = last_object(answer).get("error", {}).get("code", "")
    if field.happened_at is None:
        verdict.problems.append("the fault did not happen")
    else:
        verdict.answered = time.monotonic() - field.happened_at
    lost = verdict.error == "postcopy-failed"
    field.settle_down()
    if cell.killed and verdict.code not in SIGKILL:
        verdict.problems.append(f"kvmctl was to be killed, and ended with {verdict.code}")
    unsettled = verdict.error == "migration-unsettled"
    if unsettled and cell.forgets:
        field.hosts["source"].restart_libvirtd()
    if verdict.code in SIGKILL or (unsettled and (cell.unreachable or cell.forgets)):
        where = _recover(field, cell, verdict)
        lost = lost or cell.forgets
    else:
        where = "source" if verdict.code else "target"
    if cell.codes is not None and verdict.code not in cell.codes:
        verdict.problems.append(f"exit code {verdict.code}")
    _check_ends(field, cell, verdict, where, lost=lost)


def _recover(field: Field, cell: Cell, verdict: Verdict) -> Side:
    verdict.recovered = True
    field.start("migrate", "--recover", "vm", "-o", "json")
    code, answer, said = field.end()
    verdict.said += f"\n--recover: exit code {code}\n{said}"
    answer_of = last_object(answer)
    if code and not (cell.forgets and answer_of["error"]["code"] == "postcopy-failed"):
        verdict.problems.append(f"--recover: exit code {code}")
    if code:
        return "source"
    return "target" if answer_of["host"] == "target" else "source"


def _check_ends(field: Field, cell: Cell, verdict: Verdict, where: Side, *, lost: bool) -> None:
    states = {side: field.state(side) for side in SIDES}
    if verdict.code and "off" in cell.ends and states["source"] == "absent":
        where = "target"  # it has moved, and does not run: that is a failure too
    other: Side = "source" if where == "target" else "target"
    verdict.where = f"{states[where]} at the {where}"
    told = [f"{states[side]} at the {side}" for side in SIDES]
    running = list(states.values()).count("running")
    verdict.unsafe = running > 1 or (running < 1 and cell.ends == {"running"})
    if states[other] != "absent":
        verdict.problems.append(f"left behind: {', '.join(told)}")
    elif states[where] not in cell.ends and not (lost and "lost" in cell.ends):
        verdict.problems.append(f"must be {' or '.join(sorted(cell.ends))}: {', '.join(told)}")
    elif not field.persistent(where):
        verdict.problems.append("not persistent any more")
    if left := field.left(where):
        verdict.problems.append(f"left behind: {', '.join(left)}")
    _check_guest(field, verdict, where, runs=states[where] == "running" and not lost)


def _check_guest(field: Field, verdict: Verdict, where: Side, *, runs: bool) -> None:
    before = field.count(where)
    if runs:
        try:
            until(lambda: field.count(where).count > before.count + 2, "counts", seconds=10)
        except AssertionError:
            verdict.problems.append("the guest does not count on")
    now = field.count(where)
    verdict.unsafe = verdict.unsafe or now.foreign or now.starts != 1
    if now.foreign:
        verdict.problems.append("TWO WRITERS on the disk")
    if now.starts != 1:
        verdict.problems.append(f"the guest was started {now.starts} times")
