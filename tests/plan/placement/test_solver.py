"""The planner against trying everything: on many thousands of random hosts, and on servers as they are bought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import TypeVar

import pytest

from kvmctl.plan.placement.solver import place
from kvmctl.plan.placement.wish import POLICIES, THREADS, Placement, Wish
from kvmctl.plan.topology import Topology
from tests.plan.placement.checker import check
from tests.plan.placement.definition import Problem
from tests.plan.placement.servers import EIGHT, GIB, LARGE, SERVERS, SIXTEEN, Server, residents, room
from tests.plan.placement.topologies import MIDDLE, SMALL, Size, problem

Thing = TypeVar("Thing")

AT_ONCE = 1000
SMALL_ONES = range(0, 12_000, AT_ONCE)
MIDDLE_ONES = range(0, 3_000, AT_ONCE)


def asked(problem: Problem) -> Placement | None:
    return place(problem.topology, problem.tenants, problem.wish, problem.available)


def wrong(seeds: range, size: Size, *, brute: bool) -> tuple[str, int]:
    """What is wrong with the first bad answer and how to see it again, or nothing; and how many wishes fitted."""
    fitted = 0
    for seed in seeds:
        question = problem(seed, size)
        placement = asked(question)
        complaints = check(question, placement, brute=brute)
        if complaints:
            again = f"python -m tests.plan.placement.checker {seed}{'' if size is SMALL else ' middle'}"
            return "\n".join((*complaints, "see it again:", again)), fitted
        fitted += placement is not None
    return "", fitted


@pytest.mark.parametrize("first", SMALL_ONES)
def test_nothing_is_better_on_small_hosts(first: int) -> None:
    complaints, fitted = wrong(range(first, first + AT_ONCE), SMALL, brute=True)
    assert not complaints, complaints
    assert AT_ONCE // 2 < fitted < AT_ONCE


@pytest.mark.parametrize("first", MIDDLE_ONES)
def test_nothing_is_better_on_hosts_of_middle_size(first: int) -> None:
    complaints, fitted = wrong(range(first, first + AT_ONCE), MIDDLE, brute=False)
    assert not complaints, complaints
    assert AT_ONCE // 3 < fitted < AT_ONCE


def shuffled(random: Random, mapping: Mapping[int, Thing]) -> dict[int, Thing]:
    return dict(random.sample(list(mapping.items()), len(mapping)))


def in_another_order(random: Random, problem: Problem) -> Problem:
    nodes = shuffled(random, problem.topology.nodes)
    topology = Topology(
        cpus=shuffled(random, problem.topology.cpus),
        nodes={number: replace(node, distances=shuffled(random, node.distances)) for number, node in nodes.items()},
    )
    tenants = random.sample(list(problem.tenants), len(problem.tenants))
    return Problem(
        topology=topology,
        tenants=[replace(one, vcpus=shuffled(random, one.vcpus)) for one in tenants],
        wish=replace(problem.wish, near=tuple(random.sample(problem.wish.near, len(problem.wish.near)))),
        available=shuffled(random, problem.available),
    )


def test_the_same_question_has_the_same_answer_in_whatever_order_it_is_put() -> None:
    random = Random(1)
    for seed in range(1000):
        question = problem(seed)
        other = in_another_order(random, question)
        assert asked(question) == asked(problem(seed)) == asked(other), seed


def server_problem(server: Server, vms: int, wish: Wish) -> Problem:
    topology = server.topology()
    tenants = residents(Random(vms), topology, vms)
    return Problem(topology=topology, tenants=tenants, wish=wish, available=room(topology, tenants))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("server", "vms"),
    [*((server, 20) for server in SERVERS[:-1]), (LARGE, 100), (EIGHT, 60), (EIGHT, 0)],
    ids=str,
)
def test_nothing_is_better_on_servers(server: Server, vms: int, policy: str, threads: str) -> None:
    for vcpus in (1, 4, 7, 24, 96):
        for exclusive in (False, True):
            wish = Wish(
                vm="wanted", vcpus=vcpus, memory=vcpus * 4 * GIB, policy=policy, threads=threads, exclusive=exclusive
            )
            question = server_problem(server, vms, wish)
            assert check(question, asked(question)) == ()


def test_nothing_is_better_on_sixteen_nodes() -> None:
    """Where all sets of nodes are 65,535, and memory needs several of them."""
    wish = Wish(vm="wanted", vcpus=40, memory=900 * GIB, threads="own_core", near=(5,))
    question = server_problem(SIXTEEN, 60, wish)
    placement = asked(question)
    assert placement is not None
    assert check(question, placement) == ()
