"""The planner on hosts of many nodes: right where all sets can be tried, and few steps where they cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import TypeVar

import pytest

from kvmctl.plan.placement import solver
from kvmctl.plan.placement.solver import place
from kvmctl.plan.placement.wish import POLICIES, THREADS, Placement, Wish
from kvmctl.plan.topology import Topology
from tests.plan.placement.checker import check
from tests.plan.placement.definition import Definition, Problem
from tests.plan.placement.exact import Exact
from tests.plan.placement.servers import GIB, Server, residents, room
from tests.plan.placement.topologies import wish

Thing = TypeVar("Thing")

AT_ONCE = 100
TWENTY_FOUR = Server(name="2 x 96 cores, each L3 a node", sockets=2, nodes=12, cores=8, memory=64 * GIB)
THIRTY_TWO = Server(name="32 x 4 cores", sockets=32, cores=4, memory=64 * GIB)
CLUSTERS = Server(name="8 x 24 cores, 4 nodes each over one L3", sockets=8, nodes=4, cores=6, cluster=True)
PROVED = "certificate: bound"


def asked(problem: Problem) -> Placement | None:
    return place(problem.topology, problem.tenants, problem.wish, problem.available)


def spaced(topology: Topology, distance: Callable[[int, int], int]) -> Topology:
    nodes = {
        number: replace(
            node, distances={other: 10 if other == number else distance(number, other) for other in node.distances}
        )
        for number, node in topology.nodes.items()
    }
    return replace(topology, nodes=nodes)


def many(seed: int) -> Problem:
    """Six to ten small nodes, often alike, with few VMs and a wish that mostly needs several of the nodes."""
    random = Random(seed)
    sockets, nodes = random.choice(((1, 7), (1, 9), (2, 3), (2, 4), (2, 5), (3, 2), (3, 3), (4, 2)))
    cluster = random.random() < 0.3
    server = Server(
        name="many",
        sockets=sockets,
        nodes=nodes,
        caches=1 if cluster else random.choice((1, 1, 2)),
        cores=random.choice((2, 2, 3)),
        threads=random.choice((1, 2, 2)),
        cluster=cluster,
        memory=random.choice((2, 4)) * GIB,
    )
    topology = server.topology()
    table = {
        frozenset((one, other)): random.choice((11, 12, 16, 21, 28, 32)) for one in range(10) for other in range(one)
    }
    kind = random.choice(("two", "two", "three", "any"))
    if kind == "three":
        topology = spaced(
            topology, lambda one, other: 11 if one // 2 == other // 2 else 16 if one // 4 == other // 4 else 28
        )
    elif kind == "any":
        topology = spaced(topology, lambda one, other: table[frozenset((one, other))])
    if random.random() < 0.3:
        cpus = {number: replace(cpu, online=random.random() > 0.1) for number, cpu in topology.cpus.items()}
        topology = replace(topology, cpus=cpus)
    tenants = residents(random, topology, random.choice((0, 0, 2, 5, 12)), most=4)
    available = (
        room(topology, tenants)
        if random.random() < 0.7
        else {one: random.randint(0, 4) * GIB for one in topology.nodes}
    )
    wanted = wish(random, topology, sum(available.values()), modest=random.random() < 0.5)
    return Problem(topology=topology, tenants=tenants, wish=wanted, available=available)


@pytest.mark.parametrize("few", [0, solver.FEW])
@pytest.mark.parametrize("first", range(0, 300, AT_ONCE))
def test_nothing_is_better_on_hosts_of_many_nodes(first: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "FEW", few)
    fitted = 0
    for seed in range(first, first + AT_ONCE):
        question = many(seed)
        placement = asked(question)
        assert check(question, placement) == (), seed
        fitted += placement is not None
    assert fitted > AT_ONCE // 2


def reverse(mapping: Mapping[int, Thing]) -> dict[int, Thing]:
    return {number: mapping[number] for number in sorted(mapping, reverse=True)}


def test_the_order_of_many_nodes_changes_nothing() -> None:
    for seed in range(100):
        question = many(seed)
        topology = question.topology
        turned = Topology(cpus=reverse(topology.cpus), nodes=reverse(topology.nodes))
        other = replace(question, topology=turned, tenants=question.tenants[::-1])
        assert asked(question) == asked(other), seed


def empty(server: Server, vcpus: int, memory: int, **fields: str) -> Problem:
    topology = server.topology()
    wanted = Wish(vm="wanted", vcpus=vcpus, memory=memory, **fields)  # type: ignore[arg-type]
    return Problem(topology=topology, tenants=(), wish=wanted, available=room(topology, ()))


def nodes_of(problem: Problem, placement: Placement) -> list[int]:
    return sorted({problem.topology.cpus[number].node for number in placement.vcpus})


@pytest.mark.parametrize(
    ("server", "vcpus", "memory", "nodes"),
    [
        (TWENTY_FOUR, 4, 32, [0]),
        (TWENTY_FOUR, 48, 384, [*range(6)]),
        (TWENTY_FOUR, 96, 768, [*range(12)]),
        (TWENTY_FOUR, 224, 448, [*range(14)]),
        (THIRTY_TWO, 84, 84, [*range(11)]),
        (THIRTY_TWO, 200, 800, [*range(25)]),
        (CLUSTERS, 40, 40, [*range(4)]),
    ],
    ids=str,
)
def test_of_equal_nodes_the_lowest_are_taken_and_few_sets_looked_at(
    server: Server, vcpus: int, memory: int, nodes: list[int]
) -> None:
    question = empty(server, vcpus, memory * GIB)
    placement = asked(question)
    assert placement is not None
    assert nodes_of(question, placement) == nodes
    assert placement.certificate.bound == placement.cost
    assert len(placement.certificate.cases) < 100


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("server", [TWENTY_FOUR, THIRTY_TWO, CLUSTERS], ids=str)
def test_hosts_of_many_nodes_and_vms_are_proved_in_few_steps(server: Server, policy: str, threads: str) -> None:
    topology = server.topology()
    tenants = residents(Random(3), topology, 60)
    for vcpus in (3, 24, 40):
        wanted = Wish(vm="wanted", vcpus=vcpus, memory=vcpus * 4 * GIB, policy=policy, threads=threads)
        question = Problem(topology=topology, tenants=tenants, wish=wanted, available=room(topology, tenants))
        placement = asked(question)
        assert placement is not None
        chosen = frozenset(placement.vcpus)
        definition = Definition(question)
        assert definition.cost(chosen) == placement.cost == Exact(definition).best(definition.nodes(chosen))
        assert placement.certificate.bound == placement.cost
        assert len(placement.certificate.cases) < 1500


def test_memory_goes_to_the_lower_of_equal_nodes_and_so_equal_nodes_may_differ() -> None:
    """Node 2 is as node 0 in all but its number: beside node 0 the memory goes to 1 and 2, beside node 2 to 0 alone."""
    topology = spaced(Server(name="3 nodes", sockets=3, cores=2, memory=8 * GIB).topology(), lambda one, other: 20)
    wanted = Wish(vm="wanted", vcpus=1, memory=12 * GIB, cpus=frozenset({0, 1, 4, 5, 6, 7, 10, 11}))
    question = Problem(topology=topology, tenants=(), wish=wanted, available={0: 8 * GIB, 1: 3 * GIB, 2: 8 * GIB})
    placement = asked(question)
    assert placement is not None
    assert check(question, placement) == ()
    assert nodes_of(question, placement) == [2]
    assert placement.memory == {0: 4 * GIB, 2: 8 * GIB}


def test_what_fits_nowhere_is_refused_without_a_look_at_each_set() -> None:
    """Of each core only one thread may be had, and siblings leave one core half used at most."""
    question = empty(TWENTY_FOUR, 3, 0, threads="siblings")
    first = frozenset(range(len(question.topology.cpus) // 2))
    assert asked(replace(question, wish=replace(question.wish, cpus=first))) is None


@pytest.mark.parametrize("limit", [1, 8, 40])
def test_when_it_takes_too_long_the_best_that_is_known_is_told_with_a_true_bound(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver, "LIMIT", limit)
    unproved = 0
    for seed in range(50):
        question = many(seed)
        placement = asked(question)
        complaints = check(question, placement)
        assert all(one.startswith(PROVED) for one in complaints), (seed, complaints)
        if placement is not None:
            assert placement.certificate.bound <= placement.cost
            unproved += placement.certificate.bound != placement.cost
            assert bool(complaints) == (placement.certificate.bound != placement.cost)
    assert unproved > (40 - limit) // 8
