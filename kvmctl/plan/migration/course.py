"""How a migration goes, pass by pass, by arithmetic: QEMU's copying, a guest that writes, and a pilot that steers.

The pilot is the very one that steers the real move, so that a forecast takes the decisions that the move will take.
A guest writes at a steady rate over a working set; compression, where it is chosen, is taken to help or not as told.
Nothing here knows a host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kvmctl.plan.migration.sample import Sample

if TYPE_CHECKING:
    from kvmctl.plan.migration.means import Means
    from kvmctl.plan.migration.steer import Act, Pilot

PREPARE_MS = 500
"""Until the target's QEMU is there and the first byte goes."""
FINISH_MS = 50
"""From the guest's first moment there until both ends are done."""
SWITCH_MS = 33
"""The pause with nothing left to send."""
POSTCOPY_SWITCH_MS = 55
"""The same where the target is told of each page that is still to come."""
SYNC_MS = 4
"""The least that a pass takes."""
SCAN = 8_000_000_000
"""Bytes a second of memory that was never touched and is only looked at."""
XBZRLE = 500_000_000
"""Bytes a second of pages that compress, before they do."""
PACKED = 50
"""How much smaller they get."""
OVERHEAD = 1.003
"""What goes with each page."""
BEAT_MS = 250
BEATS = 40
"""At most so many samples a pass, which are then further apart."""
FULL_THROTTLE = 99
MOST_PASSES = 5000
Ending = Literal["moved", "held", "aborted", "endless"]


@dataclass(frozen=True, kw_only=True)
class World:
    """What writes and what carries; bytes, and bytes a second. `disks` go before memory does."""

    disks: int = 0
    memory: int
    used: int
    rate: int
    working_set: int
    link: int
    compressible: bool = True


@dataclass(frozen=True, kw_only=True)
class Course:
    """How it went. `held`: moved while the guest was kept still."""

    ending: Ending
    total_ms: int
    downtime_ms: int
    bytes: int
    passes: int
    postcopy: bool
    limit_ms: int
    """The longest pause that was permitted in the end."""


def fly(world: World, means: Means, pilot: Pilot) -> Course:
    """From the first call to the end; `endless` if no pass of a great many is the last."""
    return _Flight(world, means, pilot).fly()


class _Flight:
    def __init__(self, world: World, means: Means, pilot: Pilot) -> None:
        self.world, self.means, self.pilot = world, means, pilot
        self.link = min(world.link, means.bandwidth or world.link) / OVERHEAD
        self.began = self.now = PREPARE_MS + world.disks * 1000 / self.link
        self.iteration = 1
        self.left = float(min(world.used, world.memory))
        self.sent = 0.0
        self.dirty_rate = 0
        self.limit = means.downtime_ms
        self.throttle, self.hot_passes = 0, 0
        self.held_at: float | None = None
        self.aborted = self.postcopy = False

    def fly(self) -> Course:
        while self.iteration < MOST_PASSES:
            took = self._pass()
            if self._copied_out():
                break
            self._sync(took)
            if self.left * 1000 <= self.link * self.limit or self.held_at is not None:
                return self._end(self.left * 1000 / self._speed())
            self._tell()
            if self._copied_out():
                break
        if self.postcopy:
            return self._end(0.0, self.left * 1000 / self.link)
        return self._course("aborted" if self.aborted else "endless", 0.0)

    def _copied_out(self) -> bool:
        """Copying is over, and not because all is there."""
        return self.aborted or self.postcopy

    def _speed(self) -> float:
        """Bytes of memory a second, which is more than goes over the link where pages compress."""
        packed = self.means.xbzrle_cache is not None and self.world.compressible and self.iteration >= 3
        return max(self.link, XBZRLE) if packed else self.link

    def _pass(self) -> float:
        """Send what is left, telling the pilot on the way; how long it took."""
        began = self.now
        if self.iteration == 1:
            self.now += max(0, self.world.memory - self.world.used) * 1000 / SCAN
        speed = self._speed()
        packed = PACKED if speed > self.link else 1
        beat = max(BEAT_MS, self.left * 1000 / speed / BEATS)
        while self.left > 0 and not self._copied_out():
            step = min(beat, self.left * 1000 / speed)
            self.now += step
            gone = min(self.left, speed * step / 1000)
            self.left = self.left - gone if self.left - gone > 1 else 0.0
            self.sent += gone / packed
            if self.left:
                self._tell()
        self.now = max(self.now, began + SYNC_MS)
        return self.now - began

    def _written(self, milliseconds: float) -> float:
        if self.held_at is not None:
            milliseconds = max(0.0, milliseconds - (self.now - self.held_at))
        rate = self.world.rate * (1 - self.throttle / 100)
        return min(rate * milliseconds / 1000, self.world.working_set)

    def _sync(self, took: float) -> None:
        """The end of a pass: what was written in it is left."""
        self.left = self._written(took)
        self.dirty_rate = round(self.left * 1000 / took)
        self.iteration += 1
        if self.means.auto_converge and self.left * 2000 > self.link * took:
            self.hot_passes += 1
            if self.hot_passes >= 2:
                initial, more = self.means.auto_converge
                self.throttle = min(FULL_THROTTLE, self.throttle + more if self.throttle else initial)
                self.hot_passes = 0

    def _tell(self) -> None:
        remaining = round(self.left)
        if self.iteration == 1:
            remaining += max(0, self.world.memory - self.world.used)
        sample = Sample(
            phase="precopy",
            elapsed_ms=round(self.now),
            total=self.world.memory,
            processed=round(self.sent),
            remaining=remaining,
            rate=round(self.link),
            dirty_rate=self.dirty_rate,
            iteration=self.iteration,
            throttle=self.throttle,
        )
        for act in self.pilot.observe(sample):
            self._do(act)

    def _do(self, act: Act) -> None:
        if act.kind == "downtime":
            self.limit = act.value
        elif act.kind == "postcopy":
            self.postcopy = True
            # What was sent and written again meanwhile goes again.
            if self.iteration == 1:
                self.left += min(self.sent, self._written(self.now - self.began))
        elif act.kind == "pause":
            self.held_at = self.now
        elif act.kind == "abort":
            self.aborted = True

    def _end(self, pause: float, after: float = 0.0) -> Course:
        self.sent += self.left
        pause += POSTCOPY_SWITCH_MS if self.postcopy else SWITCH_MS
        self.now += pause + after
        if self.held_at is not None:
            return self._course("held", self.now - self.held_at)
        return self._course("moved", pause)

    def _course(self, ending: Ending, pause: float) -> Course:
        return Course(
            ending=ending,
            total_ms=round(self.now) + FINISH_MS,
            downtime_ms=round(pause),
            bytes=self.world.disks + round(self.sent * OVERHEAD),
            passes=self.iteration,
            postcopy=self.postcopy,
            limit_ms=self.limit,
        )
