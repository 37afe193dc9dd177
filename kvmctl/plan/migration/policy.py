"""By what means a VM is moved: chosen from what was measured, with a sentence for each choice.

What the user named wins. Never chosen together is what this QEMU cannot do together: several connections with post-copy
or with xbzrle. Nothing is begun here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kvmctl.errors import UsageError
from kvmctl.plan.check_facts import size
from kvmctl.plan.migration.forecast import forecast
from kvmctl.plan.migration.means import Means
from kvmctl.plan.migration.pilot import in_vain
from kvmctl.plan.migration.words import rate

if TYPE_CHECKING:
    from kvmctl.plan.migration.forecast import Forecast
    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.measured import Measured
    from kvmctl.plan.migration.wish import Wish

START_MS = 20
"""The pause that QEMU may make at first. What it takes to hand over comes on top, about 25 ms."""
MIB = 1 << 20
FAST_LINK = 1_200_000_000
"""About 10 Gbit/s, which one connection does not fill."""
LARGE = 4 << 30
"""Bytes; less goes over such a link in no time anyway."""
PER_CONNECTION = 600_000_000
MOST_CONNECTIONS = 8
CACHE_SHARE = 4
"""The cache may take so much less than the guest has, and in any case `CACHE_FREE`."""
CACHE_FREE = 1 << 30
CACHE_LEAST = 64 * MIB
CACHE_ROOM = 1.5
"""How much more than was counted it has room for: a count looks at some pages only."""
QUIET = 0.05
"""A guest that writes less than this share of its memory again needs nothing but copying."""
THROTTLE_LEAST, THROTTLE_MOST, THROTTLE_STEP = 20, 80, 10
CLOSE = 0.8
"""A guest that writes this much of what the link carries may not be caught up with."""


def choose(measured: Measured, looked: Looked, wish: Wish) -> tuple[Means, Forecast | None]:
    """The means, and how it will go with them. A contradiction in what the user named is refused."""
    _refuse_contradictions(wish)
    choice = _Choice(measured, looked, wish)
    means = Means(
        downtime_ms=min(START_MS, wish.max_downtime_ms),
        postcopy=choice.postcopy,
        xbzrle_cache=choice.xbzrle_cache,
        auto_converge=choice.auto_converge,
        connections=choice.connections,
        bandwidth=wish.bandwidth,
        reasons=tuple(choice.reasons),
    )
    return means, forecast(means, measured, looked, wish)


def _refuse_contradictions(wish: Wish) -> None:
    if wish.connections is None or wish.connections < 2:
        return
    for named, what in ((wish.postcopy, "post-copy"), (wish.xbzrle_cache, "xbzrle")):
        if named:
            raise UsageError(
                "usage",
                f"QEMU cannot use {what} together with several connections",
                hint=f"name either {what} or the connections",
            )


class _Choice:
    """The choices in the order in which they exclude each other."""

    def __init__(self, measured: Measured, looked: Looked, wish: Wish) -> None:
        self.measured, self.looked, self.wish = measured, looked, wish
        self.reasons: list[str] = []
        self.link = min(measured.link or 0, wish.bandwidth or measured.link or 0)
        self.writes = measured.dirty_rate
        self.used = measured.used or measured.memory
        self.again = self.used if measured.working_set is None else measured.working_set
        self.connections = self._connections()
        several = self.connections is not None
        self.postcopy = not several and not looked.no_postcopy and wish.postcopy is not False
        self.xbzrle_cache = None if several else self._xbzrle()
        self.auto_converge = self._auto_converge()
        if not self.reasons:
            self.reasons.append(self._plain())

    @property
    def catches_up(self) -> bool:
        """The link carries well more than the guest writes."""
        return self.writes is not None and self.writes < CLOSE * self.link

    def _plain(self) -> str:
        if self.postcopy and self.wish.postcopy:
            return "post-copy after the first pass, as wished"
        if self.postcopy and in_vain(self.measured, self.link):
            return f"writes {rate(self.writes or 0)} over much of its memory: post-copy once it has begun"
        if self.writes is None:
            return "what it writes is not known: copying, watched pass by pass"
        return f"writes {rate(self.writes)}: plain copying"

    def _connections(self) -> int | None:
        if self.wish.connections is not None:
            if self.wish.connections < 2:
                return None
            self.reasons.append(f"{self.wish.connections} connections, as wished")
            return self.wish.connections
        named = self.wish.postcopy or self.wish.xbzrle_cache
        if named or self.looked.no_multifd or not self.catches_up:
            return None
        if self.link < FAST_LINK or self.used < LARGE:
            return None
        count = min(self.looked.cores, MOST_CONNECTIONS, math.ceil(self.link / PER_CONNECTION))
        if count < 2:
            return None
        self.reasons.append(f"the link carries {rate(self.link)}: {count} connections")
        return count

    def _xbzrle(self) -> int | None:
        if self.wish.xbzrle_cache is not None:
            if self.wish.xbzrle_cache:
                self.reasons.append(f"xbzrle with a cache of {size(self.wish.xbzrle_cache)}, as wished")
            return self.wish.xbzrle_cache or None
        if self.looked.no_xbzrle or self.writes is None or self.again < QUIET * self.used:
            return None
        if self.postcopy and (self.wish.postcopy or in_vain(self.measured, self.link)):
            return None  # post-copy begins before the cache is of use
        cache = max(CACHE_LEAST, _power_of_two(round(CACHE_ROOM * self.again)))
        if cache > max(self.measured.memory // CACHE_SHARE, CACHE_FREE):
            return None
        self.reasons.append(f"writes {rate(self.writes)} over {size(self.again)}: xbzrle with a cache of {size(cache)}")
        return cache

    def _auto_converge(self) -> tuple[int, int] | None:
        if self.wish.auto_converge is not None:
            if self.wish.auto_converge == (0, 0):
                return None
            self.reasons.append("auto-converge, as wished")
            return self.wish.auto_converge
        if self.postcopy or self.catches_up:
            return None
        initial = THROTTLE_LEAST
        if self.writes and self.link:
            # So much slower that it writes about 0.7 of what the link carries.
            wanted = 100 * (1 - 0.7 * self.link / self.writes)
            initial = min(THROTTLE_MOST, max(THROTTLE_LEAST, round(wanted)))
        why = f"writes {rate(self.writes)}" if self.writes is not None else "what it writes is not known"
        self.reasons.append(f"{why}, and post-copy is not possible: it is slowed down by {initial} % if need be")
        return initial, THROTTLE_STEP


def _power_of_two(amount: int) -> int:
    """The least that holds the amount: QEMU's cache is one, and is shared by page numbers."""
    return 1 << max(0, amount - 1).bit_length()
