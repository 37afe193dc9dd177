"""What is told of moves while they go on: bars on a terminal, lines at a slow beat elsewhere, JSON lines for programs.

Called from whatever thread of the engine has something to tell. Nothing here may fail, since it would take the move
with it: whoever has stopped reading hears nothing more, and the move goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kvmctl.columns import size
from kvmctl.errors import Interrupted
from kvmctl.output import Bar

if TYPE_CHECKING:
    from kvmctl.output import Output
    from kvmctl.plan.migration.sample import Sample
    from kvmctl.plan.migration.told import Told

BEAT = 10.0
"""Seconds between two lines about one move, where there is no terminal."""
EVENT_BEAT = 1.0
"""Seconds between two samples for programs; a new pass or phase is told at once."""
PHASES = {
    "preparing": "preparing",
    "disks": "copying disks",
    "precopy": "copying memory",
    "postcopy": "runs there, the rest follows",
    "postcopy-paused": "waits for the link",
    "finishing": "switching over",
}


@contextmanager
def shown(output: Output) -> Iterator[Teller]:
    """Tell of moves until the last of them is over. Interrupted, what was not brought to an end is told instead."""
    teller = Teller(output)
    try:
        with output.bars(teller.bars):
            yield teller
    except Interrupted:
        from kvmctl.host.migration.jobs import check_settled

        check_settled()
        raise


class Teller:
    """The moves that go on. `story(vm)` gives what is to be called with whatever there is to tell of one."""

    def __init__(self, output: Output, clock: Callable[[], float] = time.monotonic) -> None:
        self.output = output
        self.clock = clock
        self.lock = threading.Lock()
        """For what is said, one after the other. Not for the bars: the terminal has a lock of its own."""
        self.stories: list[_Story] = []

    @contextmanager
    def story(self, vm: str) -> Iterator[Callable[[Told], None]]:
        story = _Story(self, vm)
        self.stories.append(story)
        try:
            yield story.hear
        finally:
            self.stories.remove(story)

    def bars(self) -> list[Bar]:
        """One for each move, as things stand."""
        return [story.bar() for story in [*self.stories]]


class _Story:
    def __init__(self, teller: Teller, vm: str) -> None:
        self.teller = teller
        self.output = teller.output
        self.vm = vm
        self.step = "looking at both hosts"
        self.told: Told | None = None
        self.said_at = teller.clock()
        self.event_at = 0.0
        self.event_of: tuple[str, int] | None = None

    def hear(self, told: Told) -> None:
        # A full disk, a pipe that nobody reads, a terminal that is gone.
        with suppress(OSError), self.teller.lock:
            self._event(told)
            if told.kind == "progress":
                self.told = told
                self._say_now_and_then(told)
                return
            if told.kind == "step":
                self.step, self.told = told.what, None
            if told.kind == "decision" or not self.output.moving:
                self.output.say(f"{self.vm}: {told.what}")

    def bar(self) -> Bar:
        """A move as it stands; before anything moves, what is done."""
        told = self.told
        if told is None or told.sample is None:
            return Bar(self.vm, None, "", self.step)
        there, phase = _fraction(told.sample), phase_of(told.sample)
        beside = phase if there is None else f"{phase}  {there:.0%}"
        return Bar(self.vm, there, beside, details(told.sample, told.ends_in_ms))

    def _say_now_and_then(self, told: Told) -> None:
        now = self.teller.clock()
        if self.output.moving or self.output.machine or not told.sample or now - self.said_at < BEAT:
            return
        self.said_at = now
        self.output.say(f"{self.vm}: {phase_of(told.sample)}: {details(told.sample, told.ends_in_ms)}")

    def _event(self, told: Told) -> None:
        now = self.teller.clock()
        if told.kind == "progress" and told.sample:
            place = (told.sample.phase, told.sample.iteration)
            if place == self.event_of and now - self.event_at < EVENT_BEAT:
                return
            self.event_of, self.event_at = place, now
        self.output.event(event(told))


def event(told: Told) -> dict[str, Any]:
    """What is told, for a program."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shape: dict[str, Any] = {"event": told.kind, "time": moment, "vm": told.vm}
    if told.kind != "progress":
        return {**shape, "what": told.what}
    return {**shape, **(asdict(told.sample) if told.sample else {}), "ends_in_ms": told.ends_in_ms}


def phase_of(sample: Sample) -> str:
    """What is being done, in words."""
    if sample.phase == "precopy" and sample.iteration:
        return f"pass {sample.iteration}" if sample.iteration > 1 else "first pass"
    return PHASES[sample.phase]


def details(sample: Sample, ends_in_ms: int | None) -> str:
    """How fast it goes, how much is left, and when it will be over."""
    # Once the guest has gone over, what QEMU says of writing and pause is of before; the result has the truth.
    is_here = sample.phase in ("preparing", "disks", "precopy")
    said = (
        (sample.rate, f"{size(sample.rate)}/s"),
        (is_here and sample.dirty_rate, f"guest writes {size(sample.dirty_rate)}/s"),
        (is_here and sample.throttle, f"guest slowed by {sample.throttle}%"),
        (True, f"{size(sample.remaining + sample.disk_remaining)} to go"),
        (ends_in_ms is not None, f"over in {lasting(ends_in_ms or 0)}"),
        (is_here, "no pause yet"),
    )
    return ", ".join(part for known, part in said if known)


def lasting(milliseconds: float) -> str:
    """A time as people say it: 24 ms, 7.5 s, 2 min 5 s, 1 h 3 min."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _fraction(sample: Sample) -> float | None:
    """How much is there already; it falls back when the guest writes again what was sent."""
    total = sample.total + sample.disk_total
    return 1 - min(1.0, (sample.remaining + sample.disk_remaining) / total) if total else None
