"""Forecasts against migrations by arithmetic in worlds that were only measured, not known."""

from __future__ import annotations

import statistics
from dataclasses import replace

from kvmctl.plan.migration.course import World
from kvmctl.plan.migration.forecast import Forecast
from kvmctl.plan.migration.looked import Looked
from kvmctl.plan.migration.policy import choose
from kvmctl.plan.migration.wish import Wish
from kvmctl.plan.migration.words import rate, seconds
from tests.plan.migration.flights import HOT, IDLE, MID, NO_POSTCOPY, NOTHING_SEEN, flown, measured, random_world


def forecast(world: World, wish: Wish | None = None, looked: Looked = NOTHING_SEEN) -> Forecast:
    _, said = choose(measured(world), looked, wish or Wish())
    assert said is not None
    return said


def test_an_idle_guest() -> None:
    said = forecast(IDLE)
    assert (said.converges, said.means) == (True, ("plain",))
    assert said.total_ms is not None
    assert 2150 < said.total_ms < 2450
    assert IDLE.used <= said.bytes <= 1.01 * IDLE.used


def test_a_busy_guest_converges_by_compression() -> None:
    assert (forecast(MID).converges, forecast(MID).means) == (True, ("xbzrle",))


def test_a_hot_guest_does_not_but_arrives() -> None:
    said = forecast(HOT)
    assert (said.converges, said.means) == (False, ("post-copy",))
    assert said.total_ms is not None
    assert said.total_ms < 5000


def test_what_never_arrives_has_no_end() -> None:
    nothing = Wish(postcopy=False, xbzrle_cache=0, auto_converge=(0, 0))
    said = forecast(HOT, nothing)
    assert (said.converges, said.total_ms, said.downtime_ms, said.means) == (False, None, None, ("plain",))
    held = forecast(HOT, replace(nothing, on_deadline="pause"))
    assert held.converges is False
    assert held.downtime_ms is not None
    assert held.downtime_ms > 1000


def test_a_guest_that_is_slowed_down_converges() -> None:
    said = forecast(HOT, Wish(xbzrle_cache=0), NO_POSTCOPY)
    assert (said.converges, said.means) == (True, ("auto-converge",))


def test_a_limit_on_the_bandwidth_is_taken_for_the_link() -> None:
    slow, fast = forecast(IDLE, Wish(bandwidth=IDLE.link // 4)), forecast(IDLE)
    assert slow.total_ms is not None
    assert fast.total_ms is not None
    assert slow.total_ms > 3 * fast.total_ms


def test_disks_that_go_along_go_before() -> None:
    size = 5 * IDLE.link
    alone, both = forecast(IDLE), forecast(IDLE, looked=replace(NOTHING_SEEN, copied=size))
    assert both.bytes == alone.bytes + size
    assert alone.total_ms is not None
    assert both.total_ms is not None
    assert 4900 < both.total_ms - alone.total_ms < 5100
    assert both.downtime_ms == alone.downtime_ms
    halved = forecast(HOT, Wish(bandwidth=HOT.link // 2), replace(NOTHING_SEEN, copied=size))
    assert halved.means == forecast(HOT, Wish(bandwidth=HOT.link // 2)).means
    assert halved.total_ms is not None
    assert halved.total_ms > 10_000


def test_without_link_or_writing_there_is_none() -> None:
    for known in (replace(measured(MID), link=None), replace(measured(MID), dirty_rate=None)):
        assert choose(known, NOTHING_SEEN, Wish())[1] is None


def test_it_is_near_what_comes() -> None:
    """A count of two seconds tells little of a guest of 64 GiB, so the middle of all is what counts."""
    errors = []
    for seed in range(300):
        world = replace(random_world(seed), compressible=True)
        said, came = forecast(world), flown(world).course
        assert said.total_ms is not None, f"random_world({seed})"
        errors.append(abs(said.total_ms - came.total_ms) / came.total_ms)
    assert statistics.median(errors) < 0.25


def test_as_json() -> None:
    said = forecast(MID).as_dict()
    assert (said["converges"], said["means"]) == (True, ["xbzrle"])
    assert set(said) == {"converges", "total_ms", "downtime_ms", "bytes", "means"}


def test_amounts_as_people_say_them() -> None:
    assert [rate(3.5e8), rate(1.25e9)] == ["350 MB/s", "1.2 GB/s"]
    assert [seconds(250), seconds(2500), seconds(180_000)] == ["250 ms", "2.5 s", "3 min"]
