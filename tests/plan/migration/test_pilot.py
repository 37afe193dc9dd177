"""The pilot over migrations by arithmetic: it comes to an end, keeps the cap, and does what was wished and no more."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from kvmctl.plan.migration.means import Means
from kvmctl.plan.migration.measured import Measured
from kvmctl.plan.migration.pilot import make
from kvmctl.plan.migration.sample import Sample
from kvmctl.plan.migration.wish import Wish
from tests.plan.migration.flights import (
    HOT,
    IDLE,
    MIB,
    MID,
    NO_POSTCOPY,
    NOTHING_SEEN,
    Flown,
    flown,
    measured,
    random_world,
)

SEEDS = range(400)
PLAIN: dict[str, Any] = {"xbzrle_cache": 0, "auto_converge": (0, 0)}


def plain(**more: Any) -> Wish:
    """Nothing but copying is permitted, but for what is named."""
    return Wish(**{"postcopy": False, **PLAIN, **more})


def whys(flight: Flown) -> str:
    return "; ".join(act.why for _, act in flight.said)


# -- every kind of world --------------------------------------------------------------------------------------------


def test_it_always_comes_to_an_end() -> None:
    for seed in SEEDS:
        looked = NO_POSTCOPY if seed % 2 else NOTHING_SEEN
        flight = flown(random_world(seed), plain() if seed % 4 > 1 else Wish(), looked)
        assert flight.course.ending != "endless", f"random_world({seed})"


def test_whatever_is_permitted_arrives_where_post_copy_is() -> None:
    for seed in SEEDS:
        assert flown(random_world(seed)).course.ending == "moved", f"random_world({seed})"


def test_the_pause_never_exceeds_what_was_wished() -> None:
    for seed in SEEDS:
        cap = Random(seed).choice((1, 10, 50, 300, 2000))
        flight = flown(random_world(seed), Wish(max_downtime_ms=cap), NO_POSTCOPY if seed % 2 else NOTHING_SEEN)
        assert flight.course.limit_ms <= cap, f"random_world({seed})"
        assert all(act.value <= cap for _, act in flight.said if act.kind == "downtime"), f"random_world({seed})"


def test_a_guest_that_can_be_caught_up_with_is_not_given_up() -> None:
    caught = 0
    for seed in SEEDS:
        world = random_world(seed)
        if world.rate < 0.9 * world.link:
            caught += 1
            assert flown(world, plain()).course.ending == "moved", f"random_world({seed})"
    assert caught > 100


def test_nothing_is_done_that_was_not_permitted() -> None:
    for seed in SEEDS:
        flight = flown(random_world(seed), Wish(postcopy=False) if seed % 2 else None, NO_POSTCOPY)
        assert "postcopy" not in flight.kinds, f"random_world({seed})"


def test_every_decision_has_a_reason_and_there_is_one_way_out() -> None:
    for seed in SEEDS:
        flight = flown(random_world(seed), Wish(deadline=5, on_deadline=("abort", "pause", "postcopy")[seed % 3]))
        assert all(act.why for _, act in flight.said)
        assert sum(kind in ("postcopy", "pause", "abort") for kind in flight.kinds) <= 1, f"random_world({seed})"


def test_a_pause_is_made_longer_step_by_step() -> None:
    raised = 0
    for seed in SEEDS:
        limits = [act.value for _, act in flown(random_world(seed), plain()).said if act.kind == "downtime"]
        assert limits == sorted(set(limits)), f"random_world({seed})"
        raised += bool(limits)
    assert raised > 5


# -- single cases ---------------------------------------------------------------------------------------------------


def test_an_idle_guest_needs_no_decision() -> None:
    flight = flown(IDLE)
    assert (flight.said, flight.course.passes) == ([], 2)


def test_a_busy_guest_with_a_small_working_set_needs_no_post_copy() -> None:
    flight = flown(MID)
    assert (flight.kinds, flight.course.postcopy) == ([], False)
    assert flight.course.limit_ms <= 40


def test_a_guest_that_writes_over_all_its_memory_goes_at_once() -> None:
    flight = flown(HOT)
    assert (flight.kinds, flight.course.passes) == (["postcopy"], 1)
    assert "writes 189 MB/s over much of its memory, the link carries 119 MB/s" in whys(flight)


def test_without_a_measurement_it_learns_in_the_first_pass() -> None:
    flight = flown(HOT, known=Measured(memory=HOT.memory))
    assert (flight.kinds, flight.course.passes) == (["postcopy"], 2)
    assert "360MiB left" in whys(flight)


def test_post_copy_as_wished_begins_after_the_first_pass() -> None:
    flight = flown(IDLE, Wish(postcopy=True))
    assert flight.kinds == ["postcopy"] or flight.course.passes == 2
    flight = flown(HOT, Wish(postcopy=True))
    assert [(sample.iteration, act.kind) for sample, act in flight.said] == [(2, "postcopy")]


def test_pages_that_do_not_compress_are_noticed_within_a_pass() -> None:
    world = replace(HOT, rate=300_000_000, working_set=100 * MIB, compressible=False)
    flight = flown(world)
    assert flight.means.xbzrle_cache
    [(sample, act)] = flight.said
    assert (act.kind, sample.iteration) == ("postcopy", 3)
    assert sample.remaining > 50 * MIB


def test_a_slow_end_costs_more_than_post_copy() -> None:
    world = replace(MID, rate=105_000_000, working_set=90 * MIB)
    slow = flown(world, Wish(xbzrle_cache=0))
    assert slow.kinds == ["postcopy"]
    assert "copying on takes" in whys(slow)
    assert slow.course.total_ms * 1.25 < flown(world, plain()).course.total_ms


def test_nothing_helps() -> None:
    flight = flown(HOT, plain())
    assert (flight.course.ending, flight.kinds[-1]) == ("aborted", "abort")
    assert "nothing permitted helps" in whys(flight)


def test_nothing_helps_but_holding_the_guest() -> None:
    flight = flown(HOT, plain(on_deadline="pause"))
    assert flight.course.ending == "held"


def test_what_goes_on_for_ever_does_so_only_as_wished() -> None:
    flight = flown(HOT, plain(on_deadline="continue"))
    assert (flight.course.ending, flight.kinds.count("note")) == ("endless", 1)


def test_a_guest_that_is_slowed_down_is_waited_for() -> None:
    flight = flown(replace(HOT, compressible=False), Wish(), NO_POSTCOPY)
    assert flight.means.auto_converge
    assert flight.course.ending == "moved"
    assert flight.course.downtime_ms < 330


# -- the deadline ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_deadline", "ending", "kind"),
    [("abort", "aborted", "abort"), ("pause", "held", "pause"), ("continue", "endless", "note")],
)
def test_a_deadline_that_cannot_be_met(on_deadline: str, ending: str, kind: str) -> None:
    flight = flown(HOT, plain(deadline=10.0, on_deadline=on_deadline))
    assert (flight.course.ending, flight.kinds) == (ending, [kind])
    assert "within 10.0 s" in whys(flight)


def test_post_copy_begins_while_there_is_time_for_the_rest() -> None:
    wish = Wish(deadline=20.0, on_deadline="postcopy", xbzrle_cache=0)
    world = replace(HOT, rate=118_000_000)
    flight = flown(world, wish, known=Measured(memory=world.memory))
    assert flight.course.postcopy
    assert flight.course.total_ms <= 20_000


def test_the_guest_is_held_while_there_is_time_for_the_rest() -> None:
    flight = flown(HOT, plain(deadline=10.0, on_deadline="pause"))
    assert flight.course.total_ms <= 10_300  # the switch itself comes on top


def test_a_deadline_for_post_copy_that_is_not_possible_calls_it_off() -> None:
    flight = flown(HOT, plain(deadline=10.0, on_deadline="postcopy"))
    assert (flight.course.ending, flight.kinds) == ("aborted", ["abort"])


def test_memory_never_touched_does_not_count_against_the_deadline() -> None:
    flight = flown(IDLE, Wish(deadline=3.0, on_deadline="postcopy"))
    assert (flight.kinds, flight.course.total_ms < 3000) == ([], True)


def test_a_deadline_that_passes_before_memory_goes() -> None:
    pilot = make(Means(downtime_ms=20), NOTHING_SEEN, Wish(deadline=2.0), None)
    assert not pilot.observe(Sample(phase="disks", elapsed_ms=1900))
    [act] = pilot.observe(Sample(phase="disks", elapsed_ms=2000))
    assert act.kind == "abort"
    assert not pilot.observe(Sample(phase="disks", elapsed_ms=3000))


# -- samples as they come -------------------------------------------------------------------------------------------


def test_nothing_is_said_of_what_is_beyond_steering() -> None:
    pilot = make(Means(downtime_ms=20, postcopy=True), NOTHING_SEEN, Wish(), measured(HOT))
    for phase in ("postcopy", "postcopy-paused", "finishing"):
        assert not pilot.observe(Sample(phase=phase, iteration=3, rate=1, remaining=500 * MIB))


def test_a_pilot_that_never_saw_a_rate_waits() -> None:
    pilot = make(Means(downtime_ms=20, postcopy=True), NOTHING_SEEN, Wish(), None)
    assert not pilot.observe(Sample(phase="precopy", iteration=2, remaining=500 * MIB))
