"""Several things at once, each in a thread of its own, while the main thread watches the clock and Ctrl-C.

libvirt calls block without a limit of their own, so even a single thing runs in a thread. Work that must be
undone when interrupted asks `work.check()` between its steps. Nothing here knows what the work is.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from kvmctl.errors import Interrupted, KvmctlError, TimedOut

Thing = TypeVar("Thing")
Result = TypeVar("Result")

AT_ONCE = 8
"""How many threads work at the same time."""

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

GLANCE = 0.5
"""A signal that comes just before the main thread goes to sleep does not wake it; it sleeps no longer than this."""

UNDO_SECONDS = 20.0
"""How long interrupted work gets to undo what it did, or its `grace` if that is longer; a second Ctrl-C ends it."""


class Work:
    """The watch over one piece of work: its time limit, and whether it was told to stop."""

    def __init__(self, limit: float, cancelled: threading.Event) -> None:
        self.limit = limit
        self.ends = time.monotonic() + limit
        self.cancelled = cancelled

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.ends - time.monotonic())

    def check(self) -> None:
        """Raise if the work was interrupted or its time is over; called where the work can be undone."""
        if self.cancelled.is_set():
            raise Interrupted("interrupted", "interrupted, and undone")
        if not self.remaining():
            raise TimedOut("timed-out", f"not finished within {self.limit:g} s")


class Outcome(Generic[Thing, Result]):
    """What became of one thing: a value, or an error."""

    def __init__(self, thing: Thing) -> None:
        self.thing = thing
        self.value: Result | None = None
        self.error: BaseException | None = None
        self.finished = False


def run(
    things: Sequence[Thing],
    function: Callable[[Thing, Work], Result],
    *,
    limit: float,
    grace: float = 5.0,
    at_once: int = AT_ONCE,
    on_finish: Callable[[Outcome[Thing, Result]], None] = lambda outcome: None,
) -> tuple[list[Outcome[Thing, Result]], bool]:
    """Call `function(thing, work)` for each thing; outcomes in the order given, and whether a thread was left behind.

    `limit` is what `work` counts down, in seconds, from the start of each piece of work; work that still has not
    come back `grace` seconds later, because a call hangs, is abandoned as timed out. `on_finish` runs in the
    main thread as each ends. Ctrl-C tells all to stop, waits for them, and is raised again as Interrupted.
    """
    outcomes = [Outcome[Thing, Result](thing) for thing in things]
    cancelled = threading.Event()
    bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def work_on(outcome: Outcome[Thing, Result], work: Work) -> None:
        try:
            outcome.value = function(outcome.thing, work)
        except BaseException as problem:  # noqa: BLE001 - carried to the main thread, which tells it
            outcome.error = problem
        outcome.finished = True
        bell.put(None)

    waiting = list(reversed(outcomes))
    under_way: list[tuple[Outcome[Thing, Result], Work]] = []
    interrupted = False
    while waiting or under_way:
        try:
            # Interrupts are for this thread alone, and do not come in the middle of starting others.
            signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
            while waiting and len(under_way) < at_once and not cancelled.is_set():
                under_way.append((waiting.pop(), Work(limit, cancelled)))
                threading.Thread(target=work_on, args=under_way[-1], daemon=True).start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
            if not under_way:
                break
            next_end = min(work.ends for _, work in under_way) + grace
            if not any(outcome.finished for outcome, _ in under_way):
                with suppress(queue.Empty):
                    bell.get(timeout=min(GLANCE, max(0.01, next_end - time.monotonic())))
            for outcome, work in [*under_way]:
                if not outcome.finished and time.monotonic() < work.ends + grace:
                    continue
                if not outcome.finished:
                    outcome.error = TimedOut("timed-out", f"no answer within {work.limit:g} s")
                under_way.remove((outcome, work))
                on_finish(outcome)
        except KeyboardInterrupt:
            if interrupted:
                break
            interrupted = True
            cancelled.set()
            for _, work in under_way:
                work.ends = min(work.ends, time.monotonic() + max(0.0, UNDO_SECONDS - grace))
    if interrupted and any(not outcome.finished or outcome.error is not None for outcome in outcomes):
        # Else all was done before it could be interrupted.
        error = outcomes[0].error
        if len(outcomes) == 1 and isinstance(error, KvmctlError) and error.tells_all:
            raise error
        raise Interrupted("interrupted", "interrupted")
    return outcomes, any(not outcome.finished for outcome in outcomes)


def as_error(problem: BaseException) -> KvmctlError:
    """The error to tell; whatever is not one of ours is raised as it is."""
    if isinstance(problem, KvmctlError):
        return problem
    raise problem
