"""Who goes where when a host is emptied: room is never exceeded, and nobody stays who could go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from kvmctl.plan.migration.drain import Guest, Plan, Room, plan

GIB = 1 << 30


def guest(name: str, memory: int, **more: object) -> Guest:
    return Guest(name=name, uuid=f"uuid-{name}", memory=memory * GIB, **{"sends": memory * GIB, **more})  # type: ignore[arg-type]


def room(host: str, free: int, total: int = 16) -> Room:
    return Room(host=host, free=free * GIB, total=total * GIB)


def homes(found: Plan) -> dict[str, str]:
    return {trip.vm: trip.target for trip in found.trips}


def test_the_host_with_the_most_room_is_taken() -> None:
    found = plan([guest("web1", 2)], [room("host2", 4), room("host3", 8)])
    assert homes(found) == {"web1": "host3"}
    assert (found.trips[0].why, found.stuck) == ("most room is left there", ())


def test_what_is_over_soonest_goes_first() -> None:
    guests = [guest("big", 4), guest("busy", 1, sends=9 * GIB), guest("small", 1)]
    assert [trip.vm for trip in plan(guests, [room("host2", 16)]).trips] == ["small", "big", "busy"]


def test_a_smaller_one_makes_room() -> None:
    """web1 may go to host2 alone, which the first choice of others would fill."""
    guests = [guest("web1", 3, barred={"host3": ["no such network"]}), guest("web2", 4)]
    found = plan(guests, [room("host2", 5, 8), room("host3", 4)])
    assert homes(found) == {"web1": "host2", "web2": "host3"}
    assert next(trip.why for trip in found.trips if trip.vm == "web1") == "the only host it can go to"


def test_who_cannot_leave_is_told_why_for_each_host() -> None:
    guests = [guest("web1", 8, barred={"host3": ["a local disk", "no such network"]})]
    [stuck] = plan(guests, [room("host2", 4), room("host3", 16)]).stuck
    assert stuck.reasons == (
        "host2: needs 8192 MiB, and 4096 MiB are left there",
        "host3: a local disk; no such network",
    )
    [stuck] = plan([guest("web1", 1)], []).stuck
    assert stuck.reasons == ("there is no other host",)


def test_a_definition_needs_no_room() -> None:
    found = plan([guest("web1", 8, active=False)], [room("host2", 1), room("host3", 0)])
    assert homes(found) == {"web1": "host2"}
    assert found.trips[0].why == "a definition needs no room"


hosts = st.lists(st.integers(0, 8), min_size=1, max_size=3).map(
    lambda free: [room(f"host{number}", amount) for number, amount in enumerate(free)]
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Guest], Sequence[Room]]:
    rooms = draw(hosts)
    guests = [
        guest(
            f"vm{number}",
            draw(st.integers(1, 6)),
            active=draw(st.booleans()),
            barred={one.host: ["barred"] for one in rooms if draw(st.integers(0, 3)) == 0},
        )
        for number in range(draw(st.integers(0, 5)))
    ]
    return guests, rooms


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=400)
def test_rules_that_hold_for_every_host(case: tuple[list[Guest], Sequence[Room]], random: object) -> None:
    guests, rooms = case
    found = plan(guests, rooms)
    known = {one.uuid: one for one in guests}
    assert sorted([trip.uuid for trip in found.trips] + [stuck.uuid for stuck in found.stuck]) == sorted(known)
    used: Counter[str] = Counter()
    for trip in found.trips:
        assert not known[trip.uuid].barred.get(trip.target)
        used[trip.target] += known[trip.uuid].memory * known[trip.uuid].active
    left = {one.host: one.free - used[one.host] for one in rooms}
    assert not any(bytes_left < 0 and used[host] for host, bytes_left in left.items())
    for stuck in found.stuck:
        one = known[stuck.uuid]
        assert one.active or len(one.barred) == len(rooms), "a definition stays only where every host is barred"
        assert all(one.barred.get(host) or left[host] < one.memory for host in left), "who stays has no room anywhere"
        assert len(stuck.reasons) == len(rooms)
    shuffled = [*guests]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(shuffled, [*reversed(rooms)]) == found


@given(cases())
@settings(max_examples=200)
def test_two_vms_both_leave_if_they_can(case: tuple[list[Guest], Sequence[Room]]) -> None:
    """Exact for two: whoever asks for more asks for a bin-packing."""
    guests, rooms = case
    guests = guests[:2]
    free = {one.host: one.free for one in rooms}

    def fits(choice: Sequence[str]) -> bool:
        used: Counter[str] = Counter()
        for one, host in zip(guests, choice):
            if one.barred.get(host):
                return False
            used[host] += one.memory * one.active
        return all(used[host] <= free[host] for host in used)

    possible = any(fits(choice) for choice in product(free, repeat=len(guests)))
    assert (not plan(guests, rooms).stuck) == possible
