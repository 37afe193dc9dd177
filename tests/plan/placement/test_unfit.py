"""Why nothing fits: what is named really stands in the way, nothing smaller would do, and what is proposed does fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any

import pytest

from kvmctl.plan.placement import trials as module
from kvmctl.plan.placement.memory import available
from kvmctl.plan.placement.solver import place
from kvmctl.plan.placement.trials import Trials
from kvmctl.plan.placement.unfit import PAIRED, Unfit, why
from kvmctl.plan.placement.wish import Placement, Wish
from kvmctl.plan.topology import PagePool, Tenant, Topology
from tests.plan.placement.definition import Problem
from tests.plan.placement.servers import GIB, LARGE, Server, residents
from tests.plan.placement.topologies import MIDDLE, SMALL, problem

HUGE = 2**21
HOST = Server(name="2 nodes, 4 cores, 2 threads", sockets=2, cores=4, memory=8 * GIB).topology()
"""CPUs 0-3 and 8-11 are node 0, with the cores (0, 8), (1, 9), …; 4-7 and 12-15 are node 1."""


def asked(problem: Problem, **changes: Any) -> Placement | None:
    problem = replace(problem, wish=replace(problem.wish, **changes))
    return place(problem.topology, problem.tenants, problem.wish, problem.available)


def vm(name: str, *pins: int, **fields: Any) -> Tenant:
    """A VM with each vCPU on a CPU."""
    vcpus = {number: frozenset({pin}) for number, pin in enumerate(pins)}
    return Tenant(vm=name, uuid=name, count=len(pins) or 1, vcpus=vcpus, **fields)


def unfit(*tenants: Tenant, topology: Topology = HOST, vcpus: int = 1, **wish: Any) -> Unfit:
    """The answer for a wish that does not fit beside these VMs."""
    wanted = Wish(vm="web2", vcpus=vcpus, **wish)
    room = available(topology, tenants, wanted.page_size)
    assert place(topology, tenants, wanted, room) is None
    return why(topology, tenants, wanted, room)


def names(answer: Unfit) -> list[str]:
    return [tenant.vm for tenant in answer.blockers]


WEB = vm("web1", 0, 1, 2, 3, 8, 9, 10, 11, exclusive=True)
DB = vm("db1", 4, 5, 6, exclusive=True, running=False)


def test_who_has_the_cpus() -> None:
    answer = unfit(WEB, DB, vcpus=8, exclusive=True)
    assert answer.sentences == (
        "8 vCPUs want CPUs of their own; 5 are left: db1 (stopped) holds 4-6 and web1 holds 0-3,8-11",
        "it would fit without db1 (stopped)",
        "as wished, 5 vCPUs would fit",
    )
    assert names(answer) == ["db1"]
    assert answer.nearest == ()
    assert (answer.vcpus, answer.memory) == (5, 0)
    assert answer.hints == ("kvmctl pin auto web2 --stopped ignore",)


def test_two_that_only_together_are_in_the_way() -> None:
    answer = unfit(vm("a", 0), vm("b", 0), vm("c", 4), vcpus=15, exclusive=True)
    assert names(answer) == ["c"]
    assert names(unfit(vm("a", 0), vm("b", 0), vcpus=16, exclusive=True)) == ["a", "b"]


def test_running_vms_give_up_their_pins() -> None:
    answer = unfit(vm("a", 0), vm("b", 1), vcpus=16, exclusive=True)
    assert answer.hints == (
        "kvmctl pin clear a and kvmctl pin clear b",
        "kvmctl pin auto web2 --no-exclusive",
    )


def test_many_are_named_and_no_command_touches_them_all() -> None:
    answer = unfit(*(vm(f"vm{number}", number, running=number > 0) for number in range(3)), vcpus=16, exclusive=True)
    assert answer.sentences[1] == "it would fit without vm0 (stopped), vm1 and vm2"
    assert answer.hints == ("kvmctl pin auto web2 --no-exclusive",)


def test_of_many_a_set_of_which_all_are_needed() -> None:
    tenants = [vm(f"vm{number}", number, number + 1) for number in range(8)]
    answer = unfit(*tenants, vcpus=14, exclusive=True)
    left = [tenant for tenant in tenants if tenant not in answer.blockers]
    assert len(answer.blockers) == 7
    assert place(HOST, left, Wish(vm="web2", vcpus=14, exclusive=True), {})


def test_small_and_stopped_ones_first() -> None:
    tenants = [vm("large", 0, 1), vm("small", 2), vm("tiny", 3)]
    assert names(unfit(*tenants, vcpus=13, exclusive=True)) == ["small"]
    assert names(unfit(*tenants, vm("off", 4, 5, running=False), vcpus=12, exclusive=True)) == ["off"]


def test_vms_of_the_pool_are_in_nobodys_way() -> None:
    answer = unfit(replace(WEB, pooled=True), DB, vcpus=16)
    assert names(answer) == ["db1"]


def test_too_small_a_host() -> None:
    answer = unfit(vm("a", 0), vcpus=17)
    assert answer.sentences == (
        "17 vCPUs want a CPU each; the host has 16",
        "it would not fit without any other VM either",
        "as wished, 16 vCPUs would fit",
    )
    assert (answer.hints, answer.blockers) == ((), ())


@pytest.mark.parametrize(
    ("wish", "start"),
    [
        ({"threads": "own_core"}, "9 vCPUs want a core each without other VMs; 7 are left: a is on 0"),
        (
            {"threads": "own_core", "exclusive": True},
            "9 vCPUs want a core each for this VM alone; 7 are left: a is on 0",
        ),
        (
            {"threads": "siblings", "vcpus": 15},
            "15 vCPUs want whole cores without other VMs; there is room for 14: a is on 0",
        ),
        (
            {"threads": "siblings", "vcpus": 3, "cpus": frozenset({4, 5, 13})},
            "3 vCPUs want whole cores without other VMs among CPUs 4-5,13; there is room for 3",
        ),
        ({"policy": "isolate", "vcpus": 15}, "15 vCPUs want cores without other VMs; 14 are left: a is on 0"),
        (
            {"nodes": frozenset({0}), "exclusive": True, "vcpus": 8},
            "8 vCPUs want CPUs of their own on node 0; 7 are left: a is on 0",
        ),
        (
            {"cpus": frozenset({0}), "vcpus": 1, "exclusive": True},
            "1 vCPU wants a CPU of its own among CPU 0; none is left: a is on 0",
        ),
        ({"cpus": frozenset({0}), "vcpus": 2}, "2 vCPUs want a CPU each among CPU 0; the host has 1"),
        (
            {"cpus": frozenset({0}), "vcpus": 1, "threads": "own_core"},
            "1 vCPU wants a core without other VMs among CPU 0; none is left: a is on 0",
        ),
    ],
)
def test_what_was_wanted_in_words(wish: dict[str, Any], start: str) -> None:
    wish = {"vcpus": 9, **wish}
    tenants = (vm("a", 0),)
    if place(HOST, tenants, Wish(vm="web2", **wish), {}):
        assert "room for 3" in start  # one core may be used in part
    else:
        assert unfit(*tenants, **wish).sentences[0] == start


def test_whose_helpers_are_in_the_way() -> None:
    helpers = Tenant(vm="a", emulator=frozenset({0, 1}), iothreads={1: frozenset({2})})
    answer = unfit(helpers, vcpus=14, exclusive=True)
    assert answer.sentences[0] == "14 vCPUs want CPUs of their own; 13 are left: a is on 0-2"


def test_whole_cores_are_held() -> None:
    alone = vm("a", 0, exclusive=True, whole_cores=True)
    assert unfit(alone, vcpus=15).sentences[0] == "15 vCPUs want a CPU each; 14 are left: a holds 0,8"


@pytest.mark.parametrize(
    ("wish", "gives_up", "hint"),
    [
        ({"policy": "isolate"}, "on cores of other VMs", "kvmctl pin auto web2 --policy compact"),
        ({"threads": "own_core", "vcpus": 8}, "without a core for each vCPU", "kvmctl pin auto web2 --threads share"),
        ({"threads": "siblings"}, "without whole cores", "kvmctl pin auto web2 --threads share"),
        ({"exclusive": True}, "on CPUs that are not its alone", "kvmctl pin auto web2 --no-exclusive"),
        ({"cpus": frozenset({0, 9})}, "on other CPUs than 0,9", "kvmctl pin auto web2 --cpus 0-15"),
        ({"nodes": frozenset({0})}, "on other nodes than 0", "kvmctl pin auto web2 --nodes 0-1"),
        (
            {"page_size": GIB, "memory": GIB, "vcpus": 1},
            "without huge pages",
            "leave memory.hugepages out of its spec",
        ),
        (
            {"strict": True, "memory": 17 * GIB, "vcpus": 1},
            "with memory that may be anywhere",
            "write numa: {mode: preferred} in its spec",
        ),
    ],
)
def test_each_wish_can_be_given_up(wish: dict[str, Any], gives_up: str, hint: str) -> None:
    answer = unfit(vm("a", 0), **{"vcpus": 16, **wish})
    (other,) = answer.nearest
    assert (other.gives_up, other.hint) == (gives_up, hint)
    assert answer.hints[-1] == hint
    assert answer.sentences[-1].startswith(f"it would fit {gives_up} (cost: ")
    assert other.cost == other.placement.cost


def test_several_wishes_are_given_up_at_once() -> None:
    (other,) = unfit(vm("a", 0), vcpus=16, exclusive=True, threads="siblings").nearest
    assert other.gives_up == "without whole cores and on CPUs that are not its alone"
    assert other.hint == "kvmctl pin auto web2 --threads share --no-exclusive"
    (other,) = unfit(vm("a", 0), vcpus=16, exclusive=True, page_size=GIB, memory=GIB).nearest
    assert other.hint == "leave memory.hugepages out of its spec and kvmctl pin auto web2 --no-exclusive"


def test_a_vm_that_is_still_to_be_made_changes_its_spec() -> None:
    answer = unfit(vm("a", 0, running=False), vcpus=16, exclusive=True, threads="siblings", new=True)
    assert answer.hints == (
        "write cpu: {placement: {stopped: ignore}} in its spec",
        "write cpu: {placement: {threads: share, exclusive: false}} in its spec",
    )
    (other,) = unfit(vcpus=9, nodes=frozenset({0}), new=True).nearest
    assert other.hint == "write numa: {nodes: 0-1} in its spec"


def test_being_near_is_never_in_the_way() -> None:
    assert unfit(vcpus=17, near=(1,)).nearest == ()


def huge(total: int, free: int) -> Topology:
    """HOST with huge pages on node 1."""
    node = replace(HOST.nodes[1], pages={HUGE: PagePool(total=total, free=free)})
    return replace(HOST, nodes={0: HOST.nodes[0], 1: node})


def test_huge_pages_of_running_vms_come_back_with_them() -> None:
    used = vm("a", 0, page_size=HUGE, memory=8 * HUGE, memory_nodes=frozenset({1}))
    answer = unfit(used, topology=huge(10, 2), page_size=HUGE, memory=5 * HUGE)
    assert answer.sentences[:3] == (
        "10MiB of memory in pages of 2MiB is wanted, 6MiB more than is left: 4MiB on node 1; a has 16MiB",
        "it would fit without a",
        "as wished, 4MiB of memory would fit",
    )
    assert answer.hints == (
        "kvmctl stop a and kvmctl pin auto web2 --stopped ignore",
        "kvmctl host hugepages --size 2MiB --count 13",
        "leave memory.hugepages out of its spec",
    )
    assert (answer.vcpus, answer.memory) == (1, 2 * HUGE)


def test_huge_pages_that_are_promised_to_a_stopped_vm() -> None:
    off = vm("a", 0, page_size=HUGE, memory=8 * HUGE, running=False)
    answer = unfit(off, topology=huge(10, 10), page_size=HUGE, memory=10 * HUGE, nodes=frozenset({1}))
    assert names(answer) == ["a"]
    assert answer.hints[:2] == (
        "kvmctl pin auto web2 --stopped ignore",
        "kvmctl host hugepages --size 2MiB --node 1 --count 14",
    )


def test_no_pages_at_all() -> None:
    answer = unfit(topology=huge(10, 10), page_size=GIB, memory=GIB)
    assert answer.sentences[0] == "1GiB of memory in pages of 1GiB is wanted; none is left"
    assert answer.hints[0] == "kvmctl host hugepages --size 1GiB --count 1"


def test_memory_that_must_be_on_a_node() -> None:
    nodes = frozenset({0})
    tenants = (
        vm("a", 0, memory=2 * GIB, memory_nodes=nodes),
        vm("b", 0, memory=3 * GIB, memory_nodes=nodes),
        vm("c", 0, memory=4 * GIB, memory_nodes=frozenset({1})),
        vm("d", 0, memory=HUGE, page_size=HUGE),
    )
    answer = unfit(*tenants, memory=6 * GIB, strict=True, nodes=nodes)
    assert answer.sentences[0] == (
        "6GiB of memory is wanted on node 0, 3GiB more than is left: 3GiB on node 0; b has 3GiB and a has 2GiB"
    )
    assert names(answer) == ["b"]
    assert {other.gives_up for other in answer.nearest} == {"on other nodes than 0", "with memory that may be anywhere"}


def test_cpus_and_memory_may_both_be_short() -> None:
    answer = unfit(replace(WEB, memory=12 * GIB), vcpus=9, exclusive=True, memory=8 * GIB, strict=True)
    assert names(answer) == ["web1"]
    assert [sentence.partition(" ")[2][:6] for sentence in answer.sentences[:2]] == ["vCPUs ", "of mem"]
    assert not [sentence for sentence in answer.sentences if sentence.startswith("as wished")]
    assert answer.hints == ("kvmctl stop web1 and kvmctl pin auto web2 --stopped ignore",)


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planner is asked a few dozen times, however many VMs there are."""
    asked: list[int] = []

    def counted(*arguments: Any) -> Placement | None:
        asked.append(1)
        return place(*arguments)

    monkeypatch.setattr(module, "place", counted)
    topology = LARGE.topology()
    tenants = residents(Random(1), topology, 1000)
    wanted = Wish(vm="web2", vcpus=150, exclusive=True, threads="siblings", memory=GIB)
    answer = why(topology, tenants, wanted, available(topology, tenants, None))
    assert len(answer.blockers) > 2
    assert len(tenants) > 10 * PAIRED
    assert len(asked) < 100


def questions(size: Any, seeds: range) -> Iterator[tuple[int, Problem]]:
    return ((seed, problem(seed, size)) for seed in seeds)


@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=["small", "middle"])
def test_seats_are_what_the_planner_can_fill(size: Any) -> None:
    for seed, question in questions(size, range(800)):
        loose = replace(question, wish=replace(question.wish, strict=False, page_size=None))
        seats = Trials(
            topology=loose.topology, tenants=loose.tenants, wish=loose.wish, available=loose.available
        ).seats()
        assert asked(loose, vcpus=seats + 1) is None, seed
        assert seats == 0 or asked(loose, vcpus=seats), seed


def given_up(wish: Wish) -> list[dict[str, Any]]:
    """All that this wish can give up, one by one."""
    every: list[dict[str, Any]] = [
        {"policy": "compact"} if wish.policy == "isolate" else {},
        {"threads": "share"},
        {"exclusive": False},
        {"cpus": None},
        {"nodes": None},
        {"page_size": None},
        {"strict": False},
    ]
    return [change for change in every if change and replace(wish, **change) != wish]


def check_nearest(question: Problem, answer: Unfit) -> None:
    changes = given_up(question.wish)
    fewest = 0

    def changed(some: Sequence[dict[str, Any]]) -> Wish:
        wish = question.wish
        for change in some:
            wish = replace(wish, **change)
        return wish

    def fits(wish: Wish) -> Placement | None:
        room = question.available
        if wish.page_size != question.wish.page_size:
            room = available(question.topology, question.tenants, wish.page_size)
        return place(question.topology, question.tenants, wish, room)

    for fewest in range(1, len(changes) + 1):
        fitting = [wish for some in combinations(changes, fewest) if fits(wish := changed(some))]
        if fitting:
            assert sorted(map(repr, fitting)) == sorted(repr(other.wish) for other in answer.nearest)
            break
    else:
        assert not answer.nearest
    for other in answer.nearest:
        assert other.placement == fits(other.wish)
        assert other.hint


def check_blockers(question: Problem, answer: Unfit) -> int:
    """Of a wish whose memory may be anywhere; the number of blockers."""
    tenants = question.tenants

    def fits(away: Sequence[Tenant]) -> bool:
        left = [tenant for tenant in tenants if tenant not in away]
        return place(question.topology, left, question.wish, question.available) is not None

    if not answer.blockers:
        assert not fits(tenants)
        return 0
    assert fits(answer.blockers)
    count = len(answer.blockers)
    smaller = combinations(tenants, count - 1) if count <= 3 else combinations(answer.blockers, count - 1)
    assert not any(map(fits, smaller))
    return count


@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=["small", "middle"])
def test_the_answer_is_right_on_random_hosts(size: Any) -> None:
    counts = [0] * 60
    for seed, question in questions(size, range(1200)):
        if asked(question):
            continue
        wish = question.wish
        answer = why(question.topology, question.tenants, wish, question.available)
        assert all(sentence and "\n" not in sentence for sentence in (*answer.sentences, *answer.hints)), seed
        if answer.vcpus and (answer.memory or not wish.memory):
            assert asked(question, vcpus=answer.vcpus, memory=answer.memory), seed
        more = {"vcpus": answer.vcpus + 1} if answer.vcpus < wish.vcpus else {"memory": answer.memory + 2**21}
        assert asked(question, **more) is None, seed
        check_nearest(question, answer)
        if not wish.strict and wish.page_size is None:
            counts[check_blockers(question, answer)] += 1
    assert counts[0] > 5 and counts[1] > 5 and counts[2] > 5 and sum(counts[3:]) > 0
