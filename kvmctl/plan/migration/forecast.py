"""What a migration will come to, before anything moves: the pilot that will steer it is flown over what was measured.

Without a known link, or without knowing how fast the guest writes, there is no forecast.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kvmctl.plan.migration.course import World, fly
from kvmctl.plan.migration.pilot import make

if TYPE_CHECKING:
    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.means import Means
    from kvmctl.plan.migration.measured import Measured
    from kvmctl.plan.migration.wish import Wish


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`converges`: copying alone comes to an end, without post-copy and without holding the guest.

    `total_ms` and `downtime_ms` are None where it would not arrive at all. `means` are words: post-copy, xbzrle …
    """

    converges: bool
    total_ms: int | None
    downtime_ms: int | None
    bytes: int
    means: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "means": list(self.means)}


def forecast(means: Means, measured: Measured, looked: Looked, wish: Wish) -> Forecast | None:
    """How it will go with these means; None where too little is known."""
    if measured.link is None or measured.dirty_rate is None:
        return None
    used = min(measured.used or measured.memory, measured.memory)
    world = World(
        disks=looked.copied,
        memory=measured.memory,
        used=used,
        rate=measured.dirty_rate,
        # What was not measured is taken to be written all over.
        working_set=min(used if measured.working_set is None else measured.working_set, used),
        link=measured.link,
    )
    course = fly(world, means, make(means, looked, wish, measured))
    arrives = course.ending in ("moved", "held")
    return Forecast(
        converges=course.ending == "moved" and not course.postcopy,
        total_ms=course.total_ms if arrives else None,
        downtime_ms=course.downtime_ms if arrives else None,
        bytes=course.bytes,
        means=_words(means, postcopy=course.postcopy),
    )


def _words(means: Means, *, postcopy: bool) -> tuple[str, ...]:
    words = {
        "xbzrle": means.xbzrle_cache is not None,
        "auto-converge": means.auto_converge is not None,
        "multifd": means.connections is not None,
        "post-copy": postcopy,
    }
    return tuple(word for word, used in words.items() if used) or ("plain",)
