"""Brings both ends of a migration to one copy and nothing stale, by what they look like now and what the journal says.

What to do is decided in `plan/migration/settle.py`; here it is looked, waited, done and told. Raises when that is not
possible, and then has touched nothing that it was not sure of; the journal stays for `kvmctl migrate --recover`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmctl.errors import HostUnreachable, KvmctlError
from kvmctl.host.migration import journal as journals
from kvmctl.host.migration.plugging import plug
from kvmctl.host.migration.postcopy import take_up
from kvmctl.host.migration.sides import LOOK_SECONDS, Sides, word_of
from kvmctl.plan.migration.settle import TIDYING, decide

if TYPE_CHECKING:
    from kvmctl.host.migration.journal import Journal
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.settle import Act, End, Side, State, Verb

BEAT = 0.2
SILENT_SECONDS = 4.0
"""How long a host may stay silent, all in all. Before, the move itself has waited for it."""
GIVEN_UP_SECONDS = 33.0
"""A link that was cut is given up by then, whoever has waited for it."""
POSTCOPY_SECONDS = 120.0
"""The same after post-copy has begun: nobody can go back, and the guest waits for its memory."""
STILL_SECONDS = 35.0
"""A job that moves nothing for so long is ended; libvirt gives up a host that is silent for 30."""
TRIES = {"reconnect": 20}
"""How often an act is tried; all others: three times. Post-copy again only if nothing has moved in between."""
PACE = {"reconnect": 1.0}
"""Seconds before an act is tried once more; for all others it is a beat."""
FORGOTTEN = "cannot acquire state change lock"
"""libvirt says so of a VM for which something else is done, also where it has only forgotten that it is over."""


_UNTIDY: dict[Verb, str] = {
    "define": "its definition could not be made",
    "autostart": "autostart could not be set",
    "undefine": "its definition could not be taken away",
    "clean": "the volumes that were made could not be removed",
}


def _unheard(what: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Where the VM is, and what it does there. `notes` are sentences about what had to be done, for people."""

    outcome: Literal["moved", "stayed"]
    state: State
    notes: tuple[str, ...] = ()
    resumed_at: float | None = None
    """When we let the guest run at the target, on the monotonic clock."""


def patience(still: float) -> float:
    """How long a host may stay silent, if nothing has moved for so many seconds already."""
    return max(1.0, min(SILENT_SECONDS, GIVEN_UP_SECONDS - still))


def settle(
    journal: Journal, work: Work, *, silent: float = SILENT_SECONDS, hear: Callable[[str], None] = _unheard
) -> Settled:
    """Finish a migration, whatever became of it, and remove its journal. Not to be interrupted: it is the undoing.

    Raises HostUnreachable if the truth cannot be had or made, KvmctlError if the guest has lost its memory.
    """
    with Sides(journal) as sides:
        settling = _Settling(sides, journal, work, silent, hear)
        end, state = settling()
        if end.outcome == "stayed" and journal.speed is not None and state not in ("off", "absent"):
            with suppress(KvmctlError):  # a limit is no reason to call a settled move unsettled
                sides.unlimit("source", journal.speed)
        if state not in ("off", "absent"):
            settling.notes += plug(sides, journal, "target" if end.outcome == "moved" else "source")
    if settling.left:
        raise settling.untidy(end, state)
    journals.remove(journal)
    if settling.lost:
        raise KvmctlError(
            "postcopy-failed",
            f"{settling.lost}: the guest cannot go on",
            hint=_restart(journal, end.outcome, state),
            vm=journal.name,
            details=settling.notes,
        ).of_interrupted_work()
    assert end.outcome is not None
    return Settled(outcome=end.outcome, state=state, notes=tuple(settling.notes), resumed_at=settling.resumed_at)


class _Settling:
    def __init__(self, sides: Sides, journal: Journal, work: Work, silent: float, hear: Callable[[str], None]) -> None:
        self.sides, self.journal, self.work, self.silent, self.hear = sides, journal, work, silent, hear
        self.names: dict[Side, str] = {"source": journal.source_name, "target": journal.target_name}
        self.notes: list[str] = []
        self.lost = ""
        self.left: list[str] = []
        """What could not be tidied up."""
        self.resumed_at: float | None = None
        self.tried: Counter[tuple[Verb, Side | None]] = Counter()
        self.failures: dict[tuple[Verb, Side | None], str] = {}
        self.waited_silent = 0.0
        self.still_since = time.monotonic()

    def __call__(self) -> tuple[Act, State]:
        """Look and act until it is done; the last act, and the state of the VM where it is then."""
        while True:
            began = time.monotonic()
            seen = {side: self._look(side) for side in self.names}
            act = decide(
                seen["source"], seen["target"], self.journal, patient=self._patient(seen, began), tired=self._tired()
            )
            if act.verb == "wait":
                time.sleep(BEAT)
            elif act.verb == "done":
                self.lost = self.lost or (act.why if act.lost else "")
                return act, seen["target" if act.outcome == "moved" else "source"].state
            elif act.verb == "give-up":
                raise self._unsettled(act)
            else:
                self._do(act)

    def _look(self, side: Side) -> End:
        before = self._progress()
        end = self.sides.look(side, max(1.0, min(LOOK_SECONDS, self._silence() - self.waited_silent)))
        if self._progress() != before:
            self.still_since = time.monotonic()
            # QEMU may go on with post-copy that libvirt has given up, and is not to be disturbed then.
            self.tried.pop(("reconnect", "source"), None)
        return end

    def _progress(self) -> object:
        """What changes while memory or disks move."""
        sample = self.sides.sample()
        return sample and (sample.processed, sample.remaining, sample.disk_processed, sample.iteration)

    def _patient(self, seen: dict[Side, End], began: float) -> bool:
        """Whether there is time to wait for what is missing."""
        if any(end.state == "unknown" for end in seen.values()):
            self.waited_silent += time.monotonic() - began + BEAT
            return self.waited_silent < self._silence()
        # Interrupted work has no time left, and what is interrupted must be brought to its end all the same.
        in_time = self.work.cancelled.is_set() or bool(self.work.remaining())
        return in_time and time.monotonic() - self.still_since < STILL_SECONDS

    def _silence(self) -> float:
        """How long a host may stay silent, all in all."""
        long = self.journal.step == "postcopy" and not self.work.cancelled.is_set()
        return max(self.silent, POSTCOPY_SECONDS) if long else self.silent

    def _tired(self) -> frozenset[tuple[Verb, Side | None]]:
        return frozenset(act for act, times in self.tried.items() if times >= TRIES.get(act[0], 3))

    def _do(self, act: Act) -> None:
        key = (act.verb, act.side)
        assert act.side is not None
        if self.tried[key]:
            time.sleep(PACE.get(act.verb, BEAT))
        self.tried[key] += 1
        try:
            self._deed(act.verb, act.side)
        except KvmctlError as problem:
            self.failures[key] = problem.message
            if FORGOTTEN in problem.message:
                self.tried[key] = max(TRIES.values())  # it has been waited for long enough
            if act.verb in TIDYING and key in self._tired():
                self.left.append(f"{_UNTIDY[act.verb]} at {self.names[act.side]}: {problem.message}")
            return
        self.still_since = time.monotonic()
        if act.lost:
            self.lost = act.why
        if said := _said(act, self.names[act.side]):
            self._note(said)

    def _deed(self, verb: Verb, side: Side) -> None:
        if verb == "clean":
            self.sides.clean(self.journal.made)
            self.journal = journals.step(self.journal, self.journal.step, made=())
        elif verb == "reconnect":
            take_up(self.sides, self.journal)
        else:
            if verb == "resume" and side == "target":
                # From now on the copy here has run, and the one at the source must never run again.
                self.journal = journals.step(self.journal, "arrived")
            getattr(self.sides, verb)(side)
            if verb == "resume" and side == "target":
                self.resumed_at = time.monotonic()

    def _note(self, said: str) -> None:
        self.notes.append(said)
        self.hear(said)

    def _unsettled(self, act: Act) -> KvmctlError:
        failures = [f"{verb} at {self.names[side]}: {said}" for (verb, side), said in self.failures.items() if side]
        return HostUnreachable(
            "migration-unsettled",
            f"it is not known for certain which host runs it: {act.why}",
            hint=f"kvmctl migrate --recover {self.journal.name}, when both hosts answer",
            vm=self.journal.name,
            details=[*self.notes, *failures],
        ).of_interrupted_work()

    def untidy(self, act: Act, state: State) -> KvmctlError:
        """One copy is left, and more than that."""
        host = self.names["target" if act.outcome == "moved" else "source"]
        restart = "restart libvirtd there, under which VMs go on running; then " if FORGOTTEN in self.left[0] else ""
        return HostUnreachable(
            "migration-unsettled",
            f"is {word_of(state)} at {host} alone, but {self.left[0]}",
            hint=f"{restart}kvmctl migrate --recover {self.journal.name}",
            vm=self.journal.name,
            details=[*self.notes, *self.left[1:]],
        ).of_interrupted_work()


def _said(act: Act, host: str) -> str:
    """What was out of the ordinary, in words."""
    words = {
        ("abort", "source"): f"the move was called off at {host}, since {act.why}",
        ("resume", "source"): f"let it go on at {host}, since {act.why}",
        ("destroy", "source"): f"ended the copy that was left at {host}, since {act.why}",
        ("destroy", "target"): f"ended the copy at {host}, since {act.why}",
        ("reconnect", "source"): "took post-copy up again",
        ("define", "source"): f"{host} keeps it again",
        ("define", "target"): f"{host} keeps it now",
        ("clean", "target"): f"removed the volumes that were made at {host}",
    }
    return words.get((act.verb, act.side or "source"), "")


def _restart(journal: Journal, outcome: str | None, state: State) -> str:
    host = journal.target_name if outcome == "moved" else journal.source_name
    force = "restart --force" if state not in ("off", "absent") else "start"
    return f"kvmctl {force} {journal.name} -H {host}"
