"""Sees from sample to sample whether a copy of disks gets nearer to its end, and what to do if it does not. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from kvmctl.plan.migration.sample import Sample
from kvmctl.plan.migration.steer import Act

GAIN = 0.1
"""What is left must fall by more than this part of what was sent: else the guest writes all that goes again."""
LOOK_MS = 5_000
"""Over so long; what is left goes up and down."""
PATIENCE_MS = 20_000
"""Without any gain."""
IN_ALL_MS = 100_000
"""With gains that are lost again, of a guest that writes and rests by turns."""
INVESTED = 0.5
"""And neither is less than this part of the time so far, since what was copied is copied again if it is begun anew."""
SILENT_MS = 2_000
"""A link that carries nothing for so long tells nothing of the guest."""


class Standstill:
    """The Pilot of one copy, which begins with the first sample that it is told of.

    `may_wait`: the guest's writes to its disks could wait for the target, and do not.
    """

    def __init__(self, *, may_wait: bool) -> None:
        self.may_wait = may_wait
        self.over = False
        self.began: Sample | None = None
        self.recent: deque[Sample] = deque()
        """Of the last LOOK_MS."""
        self.sent = self.gained = self.least = Sample(phase="disks")
        """When something went last, less was left than a moment before, and less than ever."""

    def observe(self, sample: Sample) -> Sequence[Act]:
        if self.over or not self._lasts(sample):
            return ()
        self.over = True
        why = "the guest writes to its disks as fast as they are copied"
        if self.may_wait:
            return (Act(kind="again", why=f"{why}: begun again, its writes wait for the target"),)
        return (Act(kind="note", why=f"{why}: there may be no end to it"),)

    def _lasts(self, sample: Sample) -> bool:
        now = sample.elapsed_ms
        if self.began is None:
            self.began = sample
            self._begin(sample)
        if sample.disk_processed > self.sent.disk_processed:
            self.sent = sample
        elif now - self.sent.elapsed_ms > SILENT_MS:
            self._begin(sample)
        self.recent.append(sample)
        while _gained(self.recent[0], sample) is not None and len(self.recent) > 1:
            before = self.recent.popleft()
            if _gained(before, sample):
                self.gained = sample
        if _gained(self.least, sample):
            self.least = sample
        invested = INVESTED * (now - self.began.elapsed_ms)
        still, in_vain = now - self.gained.elapsed_ms, now - self.least.elapsed_ms
        return still >= max(PATIENCE_MS, invested) or in_vain >= max(IN_ALL_MS, invested)

    def _begin(self, sample: Sample) -> None:
        self.recent.clear()
        self.sent = self.gained = self.least = sample


def _gained(before: Sample, now: Sample) -> bool | None:
    """Whether less is left; None if too little time has passed to tell."""
    if now.elapsed_ms - before.elapsed_ms < LOOK_MS:
        return None
    return before.disk_remaining - now.disk_remaining > GAIN * (now.disk_processed - before.disk_processed)
