"""What floats keeps off the CPUs of exclusive VMs, and comes back when they are given up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kvmctl.plan.placement.finding import Finding
from kvmctl.plan.placement.pool import Move, findings, pool_cpus, refit
from kvmctl.plan.placement.wish import Wish
from kvmctl.plan.topology import Tenant, Topology
from tests.plan.placement.definition import Definition, Problem
from tests.plan.placement.servers import Server
from tests.plan.placement.topologies import MIDDLE, problem

HOST = Server(name="2 nodes, 2 cores, 2 threads", sockets=2, cores=2).topology()
"""CPUs 0, 1, 4, 5 are node 0, with the cores (0, 4) and (1, 5); 2, 3, 6, 7 node 1."""


def cpus(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def vm(name: str, *pins: int, **fields: object) -> Tenant:
    """A VM with each vCPU on a CPU."""
    vcpus = {number: cpus(pin) for number, pin in enumerate(pins)}
    return Tenant(vm=name, uuid=name, count=len(pins) or 1, vcpus=vcpus, **fields)  # type: ignore[arg-type]


ALONE = vm("alone", 0, exclusive=True, whole_cores=True)
POOLED = Tenant(vm="pooled", uuid="pooled", count=2, pooled=True)


def moved(tenants: Sequence[Tenant], moves: Sequence[Move]) -> list[Tenant]:
    """The VMs after the moves."""
    after = {tenant.uuid: tenant for tenant in tenants}
    for move in moves:
        tenant = after[move.uuid]
        if move.vcpus is not None:
            every = {*range(tenant.count), *tenant.vcpus}
            tenant = replace(tenant, vcpus=dict.fromkeys(every, move.vcpus))
        if move.emulator is not None:
            tenant = replace(tenant, emulator=move.emulator)
        after[move.uuid] = replace(tenant, iothreads={**tenant.iothreads, **(move.iothreads or {})})
    return [*after.values()]


def test_the_pool_is_what_nobody_has_alone() -> None:
    assert pool_cpus(HOST, [POOLED]) == HOST.online
    assert pool_cpus(HOST, [POOLED, ALONE]) == HOST.online - {0, 4}
    assert pool_cpus(HOST, [POOLED, replace(ALONE, whole_cores=False)]) == HOST.online - {0}
    assert pool_cpus(HOST, [POOLED, replace(ALONE, exclusive=False)]) == HOST.online


def test_the_pool_has_no_cpu_that_is_isolated_or_off() -> None:
    known = dict(HOST.cpus)
    known[1], known[2] = replace(known[1], isolated=True), replace(known[2], online=False)
    assert pool_cpus(replace(HOST, cpus=known), []) == {0, 3, 4, 5, 6, 7}
    isolated = {number: replace(cpu, isolated=True) for number, cpu in HOST.cpus.items()}
    assert pool_cpus(replace(HOST, cpus=isolated), [ALONE]) == HOST.online - {0, 4}


def test_pooled_vms_move_off_and_come_back() -> None:
    pool = HOST.online - {0, 4}
    (move,) = refit(HOST, [POOLED, ALONE])
    assert move == Move(vm="pooled", uuid="pooled", vcpus=pool, emulator=pool)
    after = moved([POOLED, ALONE], [move])
    assert refit(HOST, after) == ()
    (back,) = refit(HOST, after[:1])
    assert (back.vcpus, back.emulator) == (HOST.online, HOST.online)


def test_iothreads_of_the_pool_go_along() -> None:
    (move,) = refit(HOST, [replace(POOLED, iothread_count=3, iothreads={2: cpus(7)}), ALONE])
    assert move.iothreads == dict.fromkeys((1, 2, 3), HOST.online - {0, 4})


def test_a_vcpu_that_is_not_plugged_in_yet_moves_too() -> None:
    pool = HOST.online - {0, 4}
    there = replace(POOLED, vcpus=dict.fromkeys(range(2), pool) | {2: cpus(0)}, emulator=pool)
    assert [move.vcpus for move in refit(HOST, [there, ALONE])] == [pool]


def test_only_what_differs_is_moved() -> None:
    pool = HOST.online - {0, 4}
    there = replace(POOLED, vcpus=dict.fromkeys(range(2), pool), iothreads={1: pool}, iothread_count=1)
    (move,) = refit(HOST, [there, ALONE])
    assert (move.vcpus, move.emulator, move.iothreads) == (None, pool, None)


def test_nothing_left_is_told() -> None:
    everywhere = vm("greedy", *sorted(HOST.online), exclusive=True)
    assert pool_cpus(HOST, [POOLED, everywhere]) == HOST.online
    assert findings(HOST, [POOLED, everywhere]) == (
        Finding(
            code="pool-empty",
            what="no CPU is left for the VMs of the pool (pooled): they share those of greedy",
            hint="kvmctl pin auto greedy --no-exclusive",
            cpus=HOST.online,
        ),
    )
    assert findings(HOST, [everywhere]) == ()
    assert findings(HOST, [POOLED, ALONE]) == ()


def test_helpers_that_kvmctl_placed_make_room() -> None:
    ours = vm("ours", 1, 5, automatic=True, emulator=cpus(0, 4), iothreads={1: cpus(0, 4)}, iothread_count=1)
    assert refit(HOST, [ours]) == ()
    (move,) = refit(HOST, [ours, ALONE])
    other = cpus(2, 3, 6, 7)
    assert move == Move(vm="ours", uuid="ours", emulator=other, iothreads={1: other})
    (back,) = refit(HOST, moved([ours], [move]))
    assert (back.emulator, back.iothreads) == (cpus(0, 4), {1: cpus(0, 4)})


def test_helpers_with_no_room_share_the_cpus_of_their_vcpus() -> None:
    ours = vm("ours", 1, automatic=True, emulator=cpus(0))
    taken = vm("taken", 0, 2, 3, exclusive=True, whole_cores=True)
    assert [move.emulator for move in refit(HOST, [ours, taken])] == [cpus(1)]


def test_what_was_pinned_by_hand_stays() -> None:
    by_hand = vm("by_hand", 1, emulator=cpus(0), iothreads={1: cpus(0)}, iothread_count=1)
    floating = Tenant(vm="floating", uuid="floating", automatic=True, emulator=cpus(0))
    gone = vm("gone", 99, automatic=True, emulator=cpus(0))
    assert refit(HOST, [by_hand, floating, gone, ALONE]) == ()


def test_of_what_kvmctl_placed_that_which_was_pinned_by_hand_stays() -> None:
    ours = vm("ours", 1, 5, automatic=True, emulator=cpus(0), iothreads={1: cpus(0), 2: cpus(0)}, iothread_count=2)
    other = cpus(2, 3, 6, 7)
    (move,) = refit(HOST, [replace(ours, by_hand=frozenset({"emulator", "iothread2"})), ALONE])
    assert move == Move(vm="ours", uuid="ours", iothreads={1: other})
    pooled = replace(POOLED, by_hand=frozenset({"emulator"}))
    assert refit(HOST, [pooled, ALONE])[0].emulator is not None, "all of a pooled VM floats"


def test_moves_are_in_the_order_of_the_vms() -> None:
    names = ["c", "a", "b"]
    pooled = [replace(POOLED, vm=name, uuid=name) for name in names]
    assert [move.vm for move in refit(HOST, [*pooled, ALONE])] == names


def same(sets: Iterable[Iterable[int] | None], target: Iterable[int]) -> bool:
    return all(one is not None and {*one} == {*target} for one in sets)


def check(topology: Topology, tenants: Sequence[Tenant]) -> int:
    """Everything is where it should be after one round, and a second round does nothing; how many moved."""
    moves = refit(topology, tenants)
    after = moved(tenants, moves)
    assert refit(topology, after) == ()
    nobodys = Definition(Problem(topology=topology, tenants=tenants, wish=Wish(vm="", vcpus=1), available={}))
    kept = {number for number in topology.online if not topology.cpus[number].isolated} or topology.online
    for tenant in after:
        others = [other for other in tenants if other.uuid != tenant.uuid]
        asked = Problem(topology=topology, tenants=others, wish=Wish(vm="", vcpus=1), available={})
        chosen = tenant.pinned & topology.online
        threads = [tenant.emulator, *tenant.iothreads.values()]
        if tenant.pooled:
            assert same((*tenant.vcpus.values(), *threads), kept - nobodys.held or kept)
        elif tenant.automatic and chosen:
            assert same(threads, Definition(asked).floats(chosen))
        else:
            assert tenant in tenants
        if tenant.pooled or tenant.automatic:
            assert len(tenant.iothreads) >= tenant.iothread_count or not (tenant.pooled or chosen)
    return len(moves)


def test_it_is_right_on_random_hosts() -> None:
    found = 0
    for seed in range(1500):
        question = problem(seed, MIDDLE)
        found += check(question.topology, question.tenants)
    assert found > 1500
