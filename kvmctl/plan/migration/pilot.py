"""Steering a migration under way: a longer pause only where it is needed, post-copy where copying on is in vain.

A pilot sees samples and says what to do about them, each time with the reason. It never permits a longer pause than was
wished, never switches to what was not permitted with the first call, and gives up rather than go on for ever. It asks
nobody anything, and what it says is done by others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.plan.check_facts import size
from kvmctl.plan.migration.standstill import Standstill
from kvmctl.plan.migration.steer import Act
from kvmctl.plan.migration.words import rate, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.means import Means
    from kvmctl.plan.migration.measured import Measured
    from kvmctl.plan.migration.sample import Sample
    from kvmctl.plan.migration.wish import Wish

IN_VAIN = 0.36
"""A guest that writes so much of its memory again while it is sent gains too little from a first pass."""
UNSEEN = 4
"""A guest that writes faster than the link may write so many times what was counted in a short time, or not."""
WORTH = 1.25
"""Copying on may take so many times as long as post-copy would, before post-copy is chosen."""
SHRINKS = 0.95
"""A pass that leaves more than this share of what the one before left does not come closer."""
SHORT_MS = 60
"""A pause that is worth having instead of post-copy."""
ROOM = 1.2
"""How much longer a pause is permitted than what is left would take."""
TOLERANCE_MS = 300
"""How long to go on copying for a shorter pause, if that comes to more than a twentieth of the time so far."""
TRIAL_MS = 150
"""After so long a pass shows whether its pages compress."""
COMPRESSES = 1.5
"""They do when so many times more of them go than the link could carry."""
NEARLY = 1.1
"""What is left is at its least if it is not more than this times the least ever."""
WAITS = 3
"""How many passes to wait for less."""
SWITCH_MS = 400
"""From the sample that says so until the guest is held or goes, and what comes after the last byte."""
CALM = 0.3
"""The weight of what is new in what is known of the link."""
PATIENCE_MS = 10_000
FULL_THROTTLE = 99


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The beginning of a pass over memory."""

    iteration: int
    at_ms: int
    left: int


def in_vain(measured: Measured, link: float) -> bool:
    """Much of what a first pass sends is written again before the pass ends."""
    if not link or measured.dirty_rate is None or measured.working_set is None:
        return False
    used, counted = measured.used or measured.memory, measured.working_set
    again = measured.dirty_rate * used / link
    most = counted if measured.dirty_rate < link else UNSEEN * counted
    return min(again, most) >= IN_VAIN * used


def make(
    means: Means, looked: Looked, wish: Wish, measured: Measured | None = None, *, may_wait: bool = False
) -> Steersman:
    """The pilot for one migration, which begins with `means`. `may_wait`: see Standstill."""
    return Steersman(means, looked, wish, measured, Standstill(may_wait=may_wait))


class Steersman:
    """A Pilot. Every sample is one of the same migration, in order."""

    def __init__(
        self, means: Means, looked: Looked, wish: Wish, measured: Measured | None, standstill: Standstill
    ) -> None:
        self.means, self.wish, self.measured, self.standstill = means, wish, measured, standstill
        self.postcopy = means.postcopy and not looked.no_postcopy and wish.postcopy is not False
        self.limit = means.downtime_ms
        self.cap = max(wish.max_downtime_ms, means.downtime_ms)
        self.passes: list[Pass] = []
        """From the second on."""
        self.began_ms = 0
        """When memory began to go."""
        self.link = 0.0
        """Bytes a second that the link carries, as seen."""
        self.compresses: bool | None = False if means.xbzrle_cache is None else None
        """Whether xbzrle makes pages small; None: not known yet."""
        self.waited = 0
        self.throttle = 0
        self.best = 0
        self.best_at_ms = 0
        self.over = False
        """All was done that can be done from here."""
        self.late = False

    def observe(self, sample: Sample) -> Sequence[Act]:
        if self.over or sample.phase not in ("preparing", "disks", "precopy"):
            return ()
        if sample.phase == "precopy":
            self.began_ms = self.began_ms or sample.elapsed_ms
            self._see_link(sample)
        acts = self._at_deadline(sample)
        if sample.phase == "disks":
            return acts or self.standstill.observe(sample)
        if acts or sample.phase != "precopy":
            return acts
        if sample.iteration < 2:
            return self._first_pass(sample)
        if not self.passes or sample.iteration > self.passes[-1].iteration:
            return self._new_pass(sample)
        if self.compresses is None and len(self.passes) >= 2:
            return self._within_pass(sample)
        return ()

    def _see_link(self, sample: Sample) -> None:
        """QEMU counts what it sent in the last tenth of a second, which says nothing once pages are compressed."""
        if sample.rate and (sample.iteration <= 2 or self.means.xbzrle_cache is None or not self.link):
            self.link = self.link + CALM * (sample.rate - self.link) if self.link else float(sample.rate)

    # -- the deadline -----------------------------------------------------------------------------------------------

    def _at_deadline(self, sample: Sample) -> Sequence[Act]:
        if self.wish.deadline is None or self.late:
            return ()
        left_ms = round(self.wish.deadline * 1000) - sample.elapsed_ms
        act = self.wish.on_deadline
        if act == "postcopy" and not self.postcopy:
            act = "abort"
        if act in ("postcopy", "pause"):
            # What is left must still go after it.
            if sample.phase != "precopy" or not self.link:
                return ()
            if self._to_send(sample) * 1000 / self.link + SWITCH_MS >= left_ms:
                return self._forced(f"else it would not end within {seconds(self.wish.deadline * 1000)}", act)
            return ()
        if left_ms > 0:
            return ()
        return self._forced(f"it did not end within {seconds(self.wish.deadline * 1000)}", act)

    def _to_send(self, sample: Sample) -> float:
        """What is left, and what was written since the pass began; without the memory that was never touched."""
        left, began, most = sample.remaining, self.passes[-1].at_ms if self.passes else self.began_ms, sample.total
        if self.measured is not None:
            used = self.measured.used
            left = min(left, max(0, used - sample.processed)) if used is not None and not self.passes else left
            most = most if self.measured.working_set is None else self.measured.working_set
        writes = self._writes(sample)
        # A fast writer may write all of it in no time: a count of some seconds cannot tell.
        again = most if writes >= self.link else writes * (sample.elapsed_ms - began) / 1000
        return left + min(again, most, sample.processed)

    def _writes(self, sample: Sample) -> int:
        """Bytes a second, by the higher of what was measured before and what QEMU has counted."""
        return max(sample.dirty_rate, (self.measured and self.measured.dirty_rate) or 0)

    def _forced(self, why: str, act: str) -> Sequence[Act]:
        self.late = True
        if act == "continue":
            return (Act(kind="note", why=f"{why}; it goes on, as wished"),)
        self.over = True
        if act == "postcopy":
            return (Act(kind="postcopy", why=f"{why}: post-copy now"),)
        if act == "pause":
            return (Act(kind="pause", why=f"{why}: the guest is held until all has gone"),)
        return (Act(kind="abort", why=why),)

    # -- the passes -------------------------------------------------------------------------------------------------

    def _first_pass(self, sample: Sample) -> Sequence[Act]:
        """Where even a first pass gains nothing, it only makes the move longer."""
        seen = self.measured
        if not (self.postcopy and self.wish.postcopy is None and seen and in_vain(seen, self.link)):
            return ()
        why = f"writes {rate(seen.dirty_rate or 0)} over much of its memory, the link carries {rate(self.link)}"
        return self._switch(f"{why}: post-copy at once")

    def _new_pass(self, sample: Sample) -> Sequence[Act]:
        before = self.passes[-1] if self.passes else None
        now = Pass(iteration=sample.iteration, at_ms=sample.elapsed_ms, left=sample.remaining)
        self.passes.append(now)
        if not self.link:
            return ()
        if self.postcopy and self.wish.postcopy:
            return self._switch("the first pass is done: post-copy, as wished")
        need = now.left * 1000 / self.link
        if need <= self.limit:
            return ()
        self._note_progress(sample)
        return self._decide(sample, need, self._share(sample, before, need))

    def _share(self, sample: Sample, before: Pass | None, need: float) -> float:
        """What the pass that begins now is expected to leave, as a share of what it sends."""
        if self._hopes_to_compress():
            return 0.0
        if before is not None and before.left:
            return sample.remaining / before.left
        most = max(sample.remaining, (self.measured and self.measured.working_set) or 0)
        return min(self._writes(sample) * need / 1000, most) / max(1, sample.remaining)

    def _hopes_to_compress(self) -> bool:
        """The second pass fills the cache, and only the third can be small."""
        return self.compresses is None and len(self.passes) <= 2

    def _within_pass(self, sample: Sample) -> Sequence[Act]:
        """See soon whether pages compress, since else copying on may be in vain."""
        began = self.passes[-1]
        took = sample.elapsed_ms - began.at_ms
        if took < TRIAL_MS or not self.link:
            return ()
        sent = began.left - sample.remaining
        self.compresses = sent * 1000 / took > COMPRESSES * self.link
        if self.compresses:
            return ()
        need = sample.remaining * 1000 / self.link
        return self._decide(sample, need, self._writes(sample) / self.link) if need > self.limit else ()

    # -- decisions --------------------------------------------------------------------------------------------------

    def _decide(self, sample: Sample, need: float, share: float) -> Sequence[Act]:
        """`need`: milliseconds that sending what is left takes. `share`: of it, what will be left after that."""
        so_far = max(1.0, sample.elapsed_ms)
        on = need / (1 - share) if share < SHRINKS else float("inf")
        if on == float("inf"):
            return self._stuck(sample, need)
        if self.postcopy and need > SHORT_MS and so_far + on > WORTH * (so_far + need):
            why = f"{size(sample.remaining)} left, and copying on takes {seconds(on)} more"
            return self._switch(f"{why}: post-copy takes {seconds(need)}")
        # The passes between twice the limit and the limit itself are what a longer pause would save.
        saved = 1.5 * self.limit * math.log(2) / -math.log(min(SHRINKS, max(share, 0.01)))
        if need <= 4 * self.limit and saved > max(TOLERANCE_MS, so_far / 20):
            return self._raise(2 * self.limit, f"what is left shrinks slowly, to {size(sample.remaining)} now")
        return ()

    def _stuck(self, sample: Sample, need: float) -> Sequence[Act]:
        """Copying on does not come closer to the end."""
        fits = need * ROOM <= self.cap
        if fits and need <= SHORT_MS:
            return self._raise(round(need * ROOM) + 1, f"it does not get less than {size(sample.remaining)}")
        if not (fits or self.postcopy):
            return self._lose_patience(sample)
        least = sample.remaining <= NEARLY * min(one.left for one in self.passes)
        if self.waited < WAITS and not (least and self.postcopy):
            self.waited += 1  # the next pass may leave less
            return ()
        if self.postcopy:
            return self._switch("writes faster than the link carries: post-copy after this pass")
        return self._raise(round(need * ROOM) + 1, f"it does not get less than {size(sample.remaining)}")

    def _raise(self, limit: int, why: str) -> Sequence[Act]:
        limit = min(self.cap, limit)
        if limit <= self.limit:
            return ()
        self.limit = limit
        return (Act(kind="downtime", value=limit, why=f"{why}: a pause of {limit} ms is permitted"),)

    def _switch(self, why: str) -> Sequence[Act]:
        self.over = True
        return (Act(kind="postcopy", why=why),)

    # -- giving up --------------------------------------------------------------------------------------------------

    def _note_progress(self, sample: Sample) -> None:
        """Less is left than ever, or the guest was slowed down further: worth going on."""
        less = not self.best or sample.remaining < SHRINKS * self.best
        if less or self.throttle < sample.throttle < FULL_THROTTLE:
            self.best = min(self.best or sample.remaining, sample.remaining)
            self.best_at_ms = sample.elapsed_ms
        self.throttle = sample.throttle

    def _lose_patience(self, sample: Sample) -> Sequence[Act]:
        first = self.passes[0].at_ms
        if self.late or sample.elapsed_ms - self.best_at_ms < max(PATIENCE_MS, 2 * first):
            return ()
        act = "abort" if self.wish.on_deadline == "postcopy" else self.wish.on_deadline
        return self._forced("writes faster than the link carries, and nothing permitted helps", act)
