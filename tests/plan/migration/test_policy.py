"""Which means are chosen by what is known, what the user's word changes, and what is never combined."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from kvmctl.errors import UsageError
from kvmctl.plan.migration.course import World
from kvmctl.plan.migration.looked import Looked
from kvmctl.plan.migration.means import Means
from kvmctl.plan.migration.measured import Measured
from kvmctl.plan.migration.policy import choose
from kvmctl.plan.migration.wish import Wish
from tests.plan.migration.flights import HOT, IDLE, MIB, MID, NO_POSTCOPY, NOTHING_SEEN, measured

FAST = 5_000_000_000


def means(world: World | Measured, looked: Looked = NOTHING_SEEN, **wish: Any) -> Means:
    known = measured(world) if isinstance(world, World) else world
    return choose(known, looked, Wish(**wish))[0]


def test_an_idle_guest_is_copied() -> None:
    chosen = means(IDLE)
    assert (chosen.xbzrle_cache, chosen.auto_converge, chosen.connections) == (None, None, None)
    assert chosen.reasons == ("writes 0 MB/s: plain copying",)


def test_post_copy_is_permitted_wherever_it_is_possible() -> None:
    assert means(IDLE).postcopy
    assert not means(IDLE, NO_POSTCOPY).postcopy
    assert not means(IDLE, postcopy=False).postcopy


def test_a_pause_shorter_than_usual_is_begun_with() -> None:
    assert (means(IDLE).downtime_ms, means(IDLE, max_downtime_ms=5).downtime_ms) == (20, 5)


def test_a_cache_fits_the_working_set_with_room() -> None:
    assert means(MID).xbzrle_cache == 128 * MIB
    assert means(replace(MID, working_set=16 * MIB)).xbzrle_cache == 64 * MIB


def test_a_working_set_too_large_for_a_cache() -> None:
    large = replace(HOT, memory=8192 * MIB, used=8192 * MIB, rate=10**9, working_set=1800 * MIB)
    assert means(large, NO_POSTCOPY).xbzrle_cache is None


def test_post_copy_at_once_needs_no_cache() -> None:
    chosen = means(HOT)
    assert (chosen.xbzrle_cache, chosen.postcopy) == (None, True)
    assert chosen.reasons == ("writes 189 MB/s over much of its memory: post-copy once it has begun",)
    assert means(HOT, postcopy=True).reasons == ("post-copy after the first pass, as wished",)


def test_without_post_copy_a_fast_writer_is_compressed_and_slowed_down() -> None:
    chosen = means(HOT, NO_POSTCOPY)
    assert (chosen.xbzrle_cache, chosen.auto_converge) == (1024 * MIB, (56, 10))
    assert "slowed down by 56 %" in chosen.reasons[-1]


def test_the_start_of_auto_converge_follows_link_and_writing() -> None:
    assert means(replace(HOT, link=10_000_000), NO_POSTCOPY).auto_converge == (80, 10)
    assert means(replace(HOT, rate=100_000_000), NO_POSTCOPY).auto_converge == (20, 10)
    assert means(replace(HOT, rate=50_000_000), NO_POSTCOPY).auto_converge is None


def test_what_is_not_known_is_left_to_the_pilot() -> None:
    known = Measured(memory=512 * MIB)
    chosen, forecast = choose(known, NOTHING_SEEN, Wish())
    assert (chosen.xbzrle_cache, chosen.auto_converge, chosen.postcopy, forecast) == (None, None, True, None)
    assert "not known" in chosen.reasons[0]
    assert means(known, NO_POSTCOPY).auto_converge == (20, 10)


LARGE = replace(IDLE, memory=65536 * MIB, used=60000 * MIB, link=FAST)
MANY = replace(NOTHING_SEEN, cores=6)


def test_several_connections_only_on_a_fast_link_and_for_a_large_guest() -> None:
    assert means(LARGE, MANY).connections == 6
    assert means(LARGE, replace(MANY, cores=1)).connections is None
    assert means(replace(LARGE, link=1_100_000_000), MANY).connections is None
    assert means(LARGE, MANY, bandwidth=10**9).connections is None
    assert means(LARGE, replace(MANY, no_multifd="too old")).connections is None
    assert means(replace(LARGE, rate=6 * 10**9, working_set=50000 * MIB), MANY).connections is None
    assert means(replace(IDLE, link=FAST), MANY).connections is None


def test_the_users_word_wins() -> None:
    assert means(MID, xbzrle_cache=0).xbzrle_cache is None
    assert means(IDLE, xbzrle_cache=32 * MIB).xbzrle_cache == 32 * MIB
    assert means(HOT, NO_POSTCOPY, auto_converge=(0, 0)).auto_converge is None
    assert means(IDLE, auto_converge=(30, 5)).auto_converge == (30, 5)
    assert means(IDLE, bandwidth=10**6).bandwidth == 10**6
    assert means(LARGE, MANY, connections=1).connections is None
    chosen = means(MID, connections=3)
    assert (chosen.connections, chosen.postcopy, chosen.xbzrle_cache) == (3, False, None)
    assert "as wished" in chosen.reasons[0]


@pytest.mark.parametrize("more", [{"postcopy": True}, {"xbzrle_cache": 64 * MIB}])
def test_a_contradiction_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="several connections"):
        means(IDLE, connections=4, **more)
    assert means(IDLE, connections=1, **more).connections is None


def test_never_together_what_this_qemu_cannot() -> None:
    worlds = [replace(world, link=link) for world, link in product((IDLE, MID, HOT, LARGE), (10**6, 119_000_000, FAST))]
    looks = (replace(NOTHING_SEEN, cores=8), replace(NO_POSTCOPY, cores=8))
    wishes: list[dict[str, Any]] = [
        {"postcopy": postcopy, "xbzrle_cache": cache, "connections": connections}
        for postcopy, cache, connections in product((None, True, False), (None, 0, 1 << 26), (None, 1, 4))
        if not (connections == 4 and (postcopy or cache))
    ]
    for world, look, wish in product(worlds, looks, wishes):
        chosen = means(world, look, **wish)
        several = chosen.connections is not None and chosen.connections > 1
        assert not (several and (chosen.postcopy or chosen.xbzrle_cache)), (world, wish)
        assert chosen.reasons
