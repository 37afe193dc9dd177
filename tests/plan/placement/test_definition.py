"""The examiner's own reading of the definitions, on a host that fits into the head.

Two nodes, each with two L3 groups of two cores of two threads: CPUs 0-3 are the first group (cores 0-1 and 2-3), 4-7
the second; 8-15 are on node 1, 11 apart. Node 2 has only memory and is 5 farther from node 1 than from node 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from kvmctl.plan.placement.wish import Cost, Wish
from kvmctl.plan.topology import HostCpu, NumaNode, Tenant, Topology
from tests.plan.placement.definition import Definition, Problem

CPUS = {
    number: HostCpu(number=number, node=number // 8, core=number // 2, cache=number // 4, socket=number // 8)
    for number in range(16)
}
FAR = {0: {0: 10, 1: 21, 2: 17}, 1: {0: 21, 1: 10, 2: 22}, 2: {0: 17, 1: 22, 2: 10}}
HOST = Topology(
    cpus=CPUS,
    nodes={number: NumaNode(number=number, memory=0, free=0, distances=FAR[number]) for number in FAR},
)
ROOM = {0: 100, 1: 50, 2: 30}


def definition(*tenants: Tenant, host: Topology = HOST, room: dict[int, int] = ROOM, **wish: Any) -> Definition:
    wanted = Wish(**{"vm": "wanted", "vcpus": 2, **wish})
    return Definition(Problem(topology=host, tenants=tenants, wish=wanted, available=room))


def changed(**fields: dict[int, Any]) -> Topology:
    """The host with some fields of some CPUs changed."""
    cpus = dict(CPUS)
    for name, values in fields.items():
        for number, value in values.items():
            cpus[number] = replace(cpus[number], **{name: value})
    return replace(HOST, cpus=cpus)


def pins(*cpus: Iterable[int], **fields: Any) -> Tenant:
    return Tenant(vm="other", count=len(cpus), vcpus=dict(enumerate(map(frozenset, cpus))), **fields)


def cost(chosen: Iterable[int], *tenants: Tenant, **rest: Any) -> Cost:
    found = definition(*tenants, **{"vcpus": len(set(chosen)), **rest}).cost(frozenset(chosen))
    assert found is not None
    return found


def test_load_counts_vcpus_and_helpers_pinned_by_hand() -> None:
    by_hand = pins({0, 1}, {1}, emulator=frozenset({1, 2}), iothreads={1: frozenset({2})})
    load = definition(by_hand, pins({1, 99})).load
    assert {number: count for number, count in load.items() if count} == {0: 1, 1: 4, 2: 2}
    assert definition(replace(by_hand, automatic=True)).load[2] == 0
    assert not any(definition(replace(by_hand, pooled=True, exclusive=True)).load.values())


def test_exclusive_vms_hold_their_cpus_and_if_wanted_their_cores() -> None:
    assert definition(pins({0}, {5, 6}, exclusive=True)).held == {0, 5, 6}
    assert definition(pins({0}, {5, 6}, exclusive=True, whole_cores=True)).held == {0, 1, 4, 5, 6, 7}
    assert definition(pins({0}, whole_cores=True)).held == set()
    assert definition(pins({0}, exclusive=True, pooled=True)).held == set()
    assert definition(pins({0}, exclusive=True, whole_cores=True), host=changed(online={0: False})).held == {0, 1}


def test_what_may_be_used() -> None:
    everything = frozenset(range(16))
    other = pins({4}, emulator=frozenset({8}))
    held = pins({0}, exclusive=True)
    assert definition(other, held).usable == everything - {0}
    assert definition(host=changed(online={3: False})).usable == everything - {3}
    assert definition(cpus=frozenset({1, 9, 77}), nodes=frozenset({1})).usable == {9}
    assert definition(other, held, exclusive=True).usable == everything - {0, 4, 8}
    assert definition(other, held, exclusive=True, threads="own_core").usable == everything - {0, 1, 4, 5, 8, 9}
    wishes: tuple[dict[str, Any], ...] = ({"threads": "own_core"}, {"threads": "siblings"}, {"policy": "isolate"})
    for wish in wishes:
        assert definition(other, held, **wish).usable == everything - {0, 1, 4, 5}


def test_what_may_be_chosen() -> None:
    assert definition().legal(frozenset({0, 9}))
    assert not definition().legal(frozenset({0}))
    assert not definition().legal(frozenset({0, 16}))
    assert definition(threads="own_core").legal(frozenset({0, 2}))
    assert not definition(threads="own_core").legal(frozenset({0, 1}))
    assert definition(threads="siblings").legal(frozenset({0, 1}))
    assert not definition(threads="siblings").legal(frozenset({0, 2}))
    assert definition(threads="siblings", vcpus=3).legal(frozenset({0, 1, 9}))
    assert definition(threads="siblings", host=changed(online={3: False})).legal(frozenset({0, 2}))


def test_memory_goes_to_the_nearest_nodes() -> None:
    near = definition(memory=120).memory(frozenset({0}))
    assert near is not None and (near.remote, near.elsewhere, near.overcommitted) == (20, {2: 20}, 0)
    both = definition(memory=140).memory(frozenset({0}))
    assert both is not None and (both.remote, both.elsewhere) == (40, {2: 30, 1: 10})
    held = definition(memory=140, nodes=frozenset({0, 1})).memory(frozenset({0}))
    assert held is not None and held.elsewhere == {1: 40}
    over = definition(memory=200).memory(frozenset({1}))
    assert over is not None and (over.remote, over.elsewhere, over.overcommitted) == (150, {0: 100, 2: 30}, 20)
    assert definition(memory=200, strict=True).memory(frozenset({1})) is None
    assert definition(memory=200, page_size=2048).memory(frozenset({1})) is None
    assert definition(memory=180, strict=True).memory(frozenset({1})) is not None


def test_overcommit() -> None:
    assert cost({0, 1}, pins({0, 1}, {0}, {9})).overcommit == 3


@pytest.mark.parametrize(
    ("chosen", "wish", "remote", "distance"),
    [
        ({0, 1}, {"memory": 100}, 0, 0),
        ({0, 1}, {"memory": 101}, 1, 14),
        ({0, 1}, {"memory": 140}, 40, 14 + 22),
        ({0, 8}, {"memory": 150}, 0, 22),
        ({0, 8}, {"memory": 151}, 1, 22 + 14 + 24),
        ({0, 8}, {"near": (1, 1, 9)}, 0, 22 + 22 + 22),
        ({8}, {"near": (0, 2)}, 0, 22 + 24),
    ],
)
def test_memory_and_distance(chosen: set[int], wish: dict[str, Any], remote: int, distance: int) -> None:
    found = cost(chosen, **wish)
    assert (found.remote_memory, found.distance) == (remote, distance)


def test_neighbours_and_caches() -> None:
    other = pins({2})
    assert cost({0, 4}, other, policy="isolate").neighbours == 1
    assert cost({0, 4}, other, policy="compact").neighbours == 0
    assert cost({0, 4}, policy="isolate").caches == cost({0, 4}).caches == 2
    assert cost({0, 1}, policy="spread").caches == 1
    assert cost({0, 4}, policy="spread").caches == 0
    assert cost({0, 8}, policy="spread").caches == 2
    assert cost({0, 1}, policy="spread", cpus=frozenset({0, 1})).caches == 0


def test_cores() -> None:
    assert cost({0, 1, 2}).cores == 1
    assert cost({0, 1}, pins({1})).cores == 1
    assert cost({0, 1}, pins({4})).cores == 0
    assert cost({0, 2}, threads="own_core").cores == 0
    assert cost({0, 1, 2}, policy="spread").cores == 1
    assert cost({0, 2}, pins({1}), policy="spread").cores == 1
    assert cost({0, 1, 2}, policy="spread", threads="siblings").cores == 1
    assert cost({0}, host=changed(online={1: False})).cores == 0


def test_helpers() -> None:
    whole = range(8)
    assert cost(whole, helpers=3).helpers == 3
    assert cost(range(16), helpers=3).helpers == 6
    assert cost(range(7), helpers=3).helpers == 3  # CPU 7 is on a core of its vCPUs
    assert cost(range(6), helpers=3).helpers == 0
    lonely = changed(isolated={6: True, 7: True})
    assert cost(range(6), helpers=1, host=lonely).helpers == 1
    assert cost(range(6), pins({6}, {7}, exclusive=True), helpers=1).helpers == 1


def test_where_helpers_float() -> None:
    assert definition().floats(frozenset({0, 3})) == {4, 5, 6, 7}
    assert definition(pins({4}, {5, 6})).floats(frozenset({0, 3})) == {7}
    assert definition(pins(range(4, 8))).floats(frozenset({0, 3})) == {4, 5, 6, 7}
    assert definition(vcpus=8).floats(frozenset(range(8))) == set(range(8, 16))
    assert definition(vcpus=16).floats(frozenset(range(16))) == set(range(16))


def test_fragments() -> None:
    assert cost({0, 1}).fragments == 2 + 6
    assert cost({0, 1}, pins({2}, {4}), pins({5}, exclusive=True)).fragments == 1 + 3
    assert cost({0}, threads="own_core", exclusive=True).fragments == 2 + 6
    assert cost({0}, threads="own_core").fragments == 3 + 7
    assert cost({0, 8}).fragments == 6 + 14
    across = changed(cache=dict.fromkeys((8, 9), 0))
    assert cost({0, 1}, host=across).fragments == 4 + 6
    assert cost({0, 1}, host=changed(online={2: False})).fragments == 1 + 5
