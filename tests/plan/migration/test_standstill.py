"""A copy of disks that comes to no end is known by what is left of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvmctl.plan.migration.looked import Looked
from kvmctl.plan.migration.means import Means
from kvmctl.plan.migration.pilot import make
from kvmctl.plan.migration.sample import Sample
from kvmctl.plan.migration.standstill import Standstill
from kvmctl.plan.migration.wish import Wish

LINK = 100
"""MB a second."""
DISK = 10_000
MB = 1_000_000


def samples(written: Callable[[float], float], *, disk: int = DISK, seconds: int = 3600) -> list[Sample]:
    """Four a second of a copy whose guest writes so many MB a second, at a time, to what was copied."""
    left, sent, found = float(disk), 0.0, []
    for beat in range(seconds * 4):
        step = min(left, LINK / 4)
        sent += step
        # No more can be written again than there is; what goes at once is in sync.
        left = min(left - step + written(beat / 4) / 4, disk) if left > step else 0
        total = round((sent + left) * MB)
        found.append(
            Sample(
                phase="disks",
                elapsed_ms=beat * 250,
                disk_total=total,
                disk_processed=round(sent * MB),
                disk_remaining=round(left * MB),
            )
        )
        if left < 1:
            break
    return found


def still_after(found: list[Sample]) -> float | None:
    """The seconds until a standstill is seen."""
    watch = Standstill(may_wait=True)
    return next((sample.elapsed_ms / 1000 for sample in found if watch.observe(sample)), None)


@pytest.mark.parametrize("rate", [0, 30, 60, 80])
def test_what_comes_to_an_end_is_let_be(rate: int) -> None:
    found = samples(lambda time: rate)
    assert found[-1].disk_remaining < MB
    assert still_after(found) is None


@pytest.mark.parametrize("rate", [95, 100, 400])
def test_what_does_not_is_seen(rate: int) -> None:
    assert still_after(samples(lambda time: rate)) == 20


def test_a_burst_is_waited_for() -> None:
    assert still_after(samples(lambda time: 400 if 30 < time < 45 else 0)) is None


def test_the_longer_it_was_copied_the_longer_is_waited() -> None:
    found = samples(lambda time: 100 if time > 200 else 0, disk=50_000)
    seen = still_after(found)
    assert seen is not None
    # It stands still from 200 s on; at 400 s that is half of the time.
    assert 395 < seen < 415


def test_what_is_left_may_go_up_and_down() -> None:
    seen = still_after(samples(lambda time: 300 if time % 20 < 10 else 0))
    assert seen is not None
    assert 100 < seen < 150
    assert still_after(samples(lambda time: 120 if time % 20 < 10 else 0)) is None


def test_a_link_that_carries_nothing_is_for_others_to_see() -> None:
    """Though the guest writes on meanwhile."""
    still = [
        Sample(phase="disks", elapsed_ms=beat * 250, disk_total=DISK * MB, disk_remaining=(DISK + beat) * MB)
        for beat in range(60 * 4)
    ]
    assert still_after(still) is None


@pytest.mark.parametrize("may_wait", [True, False])
def test_what_the_pilot_does(may_wait: bool) -> None:
    pilot = make(Means(downtime_ms=300), Looked(findings=()), Wish(), may_wait=may_wait)
    said = [act for sample in samples(lambda time: 100) for act in pilot.observe(sample)]
    assert [act.kind for act in said] == ["again" if may_wait else "note"]
    assert said[0].why.startswith("the guest writes to its disks as fast as they are copied: ")


def test_a_deadline_comes_first() -> None:
    pilot = make(Means(downtime_ms=300), Looked(findings=()), Wish(deadline=10), may_wait=True)
    said = [act for sample in samples(lambda time: 100) for act in pilot.observe(sample)]
    assert [act.kind for act in said] == ["abort"]
