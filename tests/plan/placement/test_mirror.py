"""Guests see their processors as they are: on random hosts nothing untrue, and on regular ones all there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest

from kvmctl.plan.placement.mirror import Mirror, mirror
from kvmctl.plan.placement.solver import place
from kvmctl.plan.topology import HostCpu, NumaNode, Topology
from kvmctl.spec.model.numa import Numa
from tests.plan.placement.servers import SERVERS, Server
from tests.plan.placement.topologies import MIDDLE, SMALL, problem

GIB = 2**30


def some(*numbers: int) -> frozenset[int] | None:
    return frozenset(numbers)


SEEDS = range(0, 2000, 500)
Seat = tuple[int, int, int, int]
"""Socket, die, core and thread that the guest sees a vCPU on."""


def seats(seen: Any) -> list[Seat]:
    """Where the guest sees each vCPU: QEMU numbers the threads of a core first, then the cores of a die, and so on."""
    return [
        (socket, die, core, thread)
        for socket in range(seen.sockets)
        for die in range(seen.dies or 1)
        for core in range(seen.cores)
        for thread in range(seen.threads)
    ]


def lies(topology: Topology, vcpus: Sequence[int], memory: Mapping[int, int], seen: Mirror, page: int | None) -> str:
    """The first thing that the guest is told and that is not so."""
    told = seats(seen.topology)
    if len(told) != len(vcpus) or [*seen.topology.check()]:
        return f"{seen.topology} is not {len(vcpus)} vCPUs"
    hosts = [topology.cpus[vcpu] for vcpu in vcpus]
    for here, one in zip(told, hosts):
        for there, other in zip(told, hosts):
            alike = sum(1 for level in range(1, 4) if here[:level] == there[:level])
            if here != there and alike == 3 and (one.core != other.core or one.number == other.number):
                return f"{one.number} and {other.number} are no siblings"
            if alike >= 1 and one.node != other.node:
                return f"{one.number} and {other.number} are in one socket"
            if alike >= 2 and (seen.cache or seen.topology.dies) and one.cache != other.cache:
                return f"{one.number} and {other.number} are in one L3 cache"
            if alike == 1 and one.cache == other.cache:
                return f"{one.number} and {other.number} are not in one L3 cache"
    return wrong_cells(topology, vcpus, memory, seen, page)


def wrong_cells(
    topology: Topology, vcpus: Sequence[int], memory: Mapping[int, int], seen: Mirror, page: int | None
) -> str:
    cells = seen.cells
    if not cells:
        return ""
    homes = [min(cell.nodes or {-1}) for cell in cells]
    total = sum(memory.values())
    if len(cells) < 2 or len({*homes}) < len(homes):
        return "one node is no reason for cells, and each has one"
    if sum(cell.memory or 0 for cell in cells) != total:
        return "some memory is lost"
    if total % 1024 == 0 and [*Numa(cells=cells).check()]:
        return "the spec says no"
    unit = page if page and total % page == 0 else 2**20 if total % 2**20 == 0 else 1
    if any((cell.memory or 0) % unit or not cell.memory for cell in cells):
        return "pages are torn"
    if any(abs((cell.memory or 0) - memory[home]) >= unit for home, cell in zip(homes, cells)):
        return "more than a page is elsewhere"
    there = {vcpu: number for number, cell in enumerate(cells) for vcpu in cell.cpus or ()}
    if there.keys() != {*range(len(vcpus))}:
        return "a vCPU has no cell"
    for vcpu, seat in enumerate(seats(seen.topology)):
        node = topology.cpus[vcpus[vcpu]].node
        if node in homes and homes[there[vcpu]] != node:
            return f"vCPU {vcpu} is far from its memory"
        first = seats(seen.topology).index((seat[0], 0, 0, 0))
        if there[first] != there[vcpu]:
            return f"socket {seat[0]} is in two cells"
    for number, cell in enumerate(cells):
        for other, distance in (cell.distances or {}).items():
            real = topology.nodes[homes[number]].distances.get(homes[other], 20)
            if distance != min(max(real, 11), 254):
                return f"{number} and {other} are not {distance} apart"
        if len(cell.distances or {}) != len(cells) - 1:
            return "a distance is missing"
    return ""


@pytest.mark.parametrize("first", SEEDS)
def test_no_guest_is_told_what_is_not_so(first: int) -> None:
    """Placements of the planner, and any others."""
    several = 0
    for seed in range(first, first + 500):
        question = problem(seed, MIDDLE if seed % 2 else SMALL)
        random, topology = Random(seed), question.topology
        placement = place(topology, question.tenants, question.wish, question.available)
        chosen = random.sample(sorted(topology.cpus), random.randint(1, len(topology.cpus)))
        anywhere = {node: random.choice((0, 1, 2**20, 3 * 2**21, GIB + 1024)) for node in topology.nodes}
        page = random.choice((None, 2**20, 2**21))
        cases: list[tuple[Sequence[int], Mapping[int, int]]] = [(chosen, anywhere), (sorted(chosen), anywhere)]
        if placement:
            cases.append((placement.vcpus, placement.memory))
        for vcpus, memory in cases:
            seen = mirror(topology, vcpus, memory, page_size=page)
            assert not lies(topology, vcpus, memory, seen, page), (seed, vcpus, memory, seen)
            assert (seen.topology.dies or 2) > 1
            several += bool(seen.cells) and seen.topology.threads == 2
    assert several > 5


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
@pytest.mark.parametrize("threads", [1, 2])
def test_regular_placements_are_seen_as_they_are(server: Server, threads: int) -> None:
    """The same number of cores in the same number of L3 caches of some nodes."""
    threads = min(threads, server.threads)
    topology = server.topology()
    for nodes in range(1, len(topology.nodes) + 1):
        for caches in range(1, (1 if server.cluster else server.caches) + 1):
            cores = min(3, server.cores)
            vcpus = [
                cpu
                for node in range(nodes)
                for cache in sorted({cpu.cache for cpu in topology.cpus.values() if cpu.node == node})[:caches]
                for core in sorted(
                    {cpu.core for cpu in topology.cpus.values() if (cpu.node, cpu.cache) == (node, cache)}
                )[:cores]
                for cpu in topology.cores[core][:threads]
            ]
            memory = dict.fromkeys(range(nodes), GIB)
            seen = mirror(topology, vcpus, memory)
            assert not lies(topology, vcpus, memory, seen, None)
            told = seen.topology
            assert (told.sockets, told.dies or 1, told.cores, told.threads) == (nodes, caches, cores, threads)
            assert seen.cache == "emulate"
            assert len(seen.cells) == (nodes if nodes > 1 else 0)
            if not server.cluster:
                assert seen.sentences == ()


def host(*cpus: tuple[int, int, int, int], distance: int = 21, memory: int = GIB) -> Topology:
    """CPUs numbered from 0, each with its node, socket, L3 cache and core."""
    nodes = {node for node, *_ in cpus}
    return Topology(
        cpus={
            number: HostCpu(number=number, node=node, socket=socket, cache=cache, core=core)
            for number, (node, socket, cache, core) in enumerate(cpus)
        },
        nodes={
            one: NumaNode(
                number=one,
                memory=memory,
                free=memory,
                distances={other: 10 if one == other else distance for other in nodes},
            )
            for one in nodes
        },
    )


def plain(*cores: int) -> list[tuple[int, int, int, int]]:
    """CPUs of one node and cache, by core."""
    return [(0, 0, 0, core) for core in cores]


IRREGULAR = {
    "three on two cores": (
        plain(0, 0, 1),
        (1, None, 3, 1),
        "emulate",
        "2 and 1 vCPUs are on 2 cores: the guest sees 3",
    ),
    "half a core among whole ones": (
        plain(0, 0, 1, 1, 2, 3),
        (1, None, 6, 1),
        "emulate",
        "the guest sees 6 of 1 thread",
    ),
    "cores of four threads, half used": (plain(0, 0, 1, 1), (1, None, 2, 2), "emulate", ""),
    "four and two threads": (plain(0, 0, 0, 0, 1, 1), (1, None, 3, 2), "emulate", "4 and 2 vCPUs are on 2 cores"),
    "siblings that are not neighbours": (plain(0, 1, 0, 1), (1, None, 4, 1), "emulate", "2 and 2 vCPUs are on 2 cores"),
    "no siblings": (plain(0, 1, 2, 3), (1, None, 4, 1), "emulate", ""),
    "uneven caches": (
        [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 1, 3)],
        (1, None, 4, 1),
        None,
        "3 and 1 vCPUs are on 2 L3 caches: the guest sees 1",
    ),
    "many uneven caches": (
        [(0, 0, max(0, cpu - 2), cpu) for cpu in range(8)],
        (1, None, 8, 1),
        None,
        "8 vCPUs are on 6 L3 caches, 1 to 3 on each: the guest sees 1",
    ),
    "even caches": ([(0, 0, cpu // 2, cpu) for cpu in range(4)], (1, 2, 2, 1), "emulate", ""),
    "caches that take turns": ([(0, 0, cpu % 2, cpu) for cpu in range(4)], (1, None, 4, 1), None, "2 L3 caches"),
    "dies of one socket only": (
        [
            (node, node, cache, core)
            for core, (node, cache) in enumerate([(0, 0), (0, 0), (0, 1), (0, 1), *[(1, 2)] * 4])
        ],
        (2, None, 4, 1),
        None,
        "2, 2 and 4 vCPUs are on 3 L3 caches: the guest sees 2",
    ),
    "two sockets that are one node": (
        [(0, cpu // 2, cpu // 2, cpu) for cpu in range(4)],
        (2, None, 2, 1),
        "emulate",
        "",
    ),
    "uneven sockets of one node": (
        [(0, cpu // 3, 0, cpu) for cpu in range(4)],
        (1, None, 4, 1),
        "emulate",
        "3 and 1 vCPUs are on 2 sockets: the guest sees 1",
    ),
    "uneven nodes": (
        [(cpu // 4, cpu // 4, cpu // 4, cpu) for cpu in range(6)],
        (3, None, 2, 1),
        "emulate",
        "4 and 2 vCPUs are on 2 nodes: the guest sees 3 sockets, none of them on two nodes",
    ),
    "two nodes of a socket": ([(cpu // 2, 0, cpu // 2, cpu) for cpu in range(4)], (2, None, 2, 1), "emulate", ""),
    "two nodes over one cache": (
        [(cpu // 2, 0, 0, cpu) for cpu in range(4)],
        (2, None, 2, 1),
        "emulate",
        "4 vCPUs are on 1 L3 cache: the guest sees 2",
    ),
    "one": (plain(0), (1, None, 1, 1), "emulate", ""),
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_what_is_not_regular(name: str) -> None:
    cpus, levels, cache, sentence = IRREGULAR[name]
    topology = host(*cpus)
    memory = dict.fromkeys(topology.nodes, GIB)
    seen = mirror(topology, range(len(cpus)), memory)
    told = seen.topology
    assert (told.sockets, told.dies, told.cores, told.threads) == levels
    assert seen.cache == cache
    assert not lies(topology, range(len(cpus)), memory, seen, None)
    assert sentence in "\n".join(seen.sentences)
    assert bool(seen.sentences) == bool(sentence)


def test_a_vcpu_whose_sibling_is_somebody_elses_is_a_core() -> None:
    seen = mirror(host(*plain(0, 0, 1, 1)), [0, 2], {0: GIB})
    assert (seen.topology.cores, seen.topology.threads, seen.sentences) == (2, 1, ())


def test_two_vcpus_on_one_cpu_are_no_siblings() -> None:
    seen = mirror(host(*plain(0, 0)), [0, 0], {0: GIB})
    assert (seen.topology.cores, seen.topology.threads) == (2, 1)


def test_other_machines_have_no_dies() -> None:
    seen = mirror(host(*[(0, 0, cpu // 2, cpu) for cpu in range(4)]), range(4), {0: GIB}, arch="aarch64")
    assert (seen.topology.dies, seen.topology.cores, seen.cache) == (None, 4, None)
    assert seen.sentences == ("2 and 2 vCPUs are on 2 L3 caches: a guest of aarch64 is not told",)


def test_pins_to_several_cpus_tell_only_what_is_common_to_them() -> None:
    topology = host(*[(cpu // 4, cpu // 4, cpu // 4, cpu // 2) for cpu in range(8)])
    near, far = frozenset({0, 1}), frozenset({4, 5})
    both = mirror(topology, [near, near, far, far], {0: GIB, 1: GIB})
    assert (both.topology.sockets, both.topology.cores, both.topology.threads) == (2, 2, 1)
    assert [cell.cpus for cell in both.cells] == [some(0, 1), some(2, 3)]
    assert both.cache == "emulate"
    loose = mirror(topology, [near, near | far], {0: GIB, 1: GIB})
    assert (loose.topology.sockets, loose.topology.cores, loose.cells, loose.cache) == (1, 2, (), None)
    assert loose.sentences == (
        "some vCPUs may run on more than one node: the guest sees one socket",
        "some vCPUs may run on more than one L3 cache: the guest is not told which ones share it",
        "some vCPUs may run on more than one node: the guest sees no NUMA nodes",
    )


TWO = host(*[(cpu // 2, cpu // 2, cpu // 2, cpu) for cpu in range(4)])


def test_cells_lie_where_their_vcpus_are() -> None:
    seen = mirror(TWO, range(4), {0: GIB, 1: 2 * GIB})
    assert [(cell.cpus, cell.memory, cell.nodes, cell.mode, cell.distances) for cell in seen.cells] == [
        (some(0, 1), GIB, some(0), None, {1: 21}),
        (some(2, 3), 2 * GIB, some(1), None, {0: 21}),
    ]


def test_memory_without_vcpus_comes_last() -> None:
    seen = mirror(TWO, [2, 3], {0: GIB, 1: 2 * GIB})
    assert [(cell.cpus, cell.memory, cell.nodes) for cell in seen.cells] == [
        (some(0, 1), 2 * GIB, some(1)),
        (None, GIB, some(0)),
    ]
    assert seen.topology.sockets == 1


def test_one_node_is_no_cell() -> None:
    assert mirror(TWO, [0, 1], {0: GIB, 1: 0}).cells == ()
    assert mirror(TWO, [0, 1], {1: GIB}) == mirror(TWO, [0, 1], {0: GIB})


def test_vcpus_without_memory_go_to_the_nearest() -> None:
    topology = host(*[(node, node, node, node) for node in range(3)])
    seen = mirror(topology, range(3), {0: GIB, 1: GIB})
    assert [cell.cpus for cell in seen.cells] == [some(0, 2), some(1)]
    assert seen.sentences == ("no memory on node 2: the guest sees its vCPUs on that of node 0",)
    assert mirror(topology, range(3), {1: GIB}).sentences == ("no memory on nodes 0,2: the guest sees no NUMA nodes",)


@pytest.mark.parametrize(
    ("memory", "page", "sizes"),
    [
        ({0: 2**20 + 1, 1: 2**20 - 1}, None, [2**20, 2**20]),
        ({0: 3 * 2**20 // 2, 1: 3 * 2**20 // 2}, None, [2 * 2**20, 2**20]),
        ({0: 5 * 2**20, 1: 3 * 2**20}, 2**21, [3 * 2**21, 2**21]),
        ({0: 2**21, 1: 2**20}, 2**21, [2**21, 2**20]),
        ({0: 1024, 1: 4096}, 2**21, [1024, 4096]),
        ({0: 5, 1: 2}, None, [5, 2]),
    ],
)
def test_memory_is_torn_between_pages_only(memory: dict[int, int], page: int | None, sizes: list[int]) -> None:
    assert [cell.memory for cell in mirror(TWO, range(4), memory, page_size=page).cells] == sizes


def test_a_node_with_less_than_a_page_is_no_cell() -> None:
    assert mirror(TWO, range(4), {0: 2**30 - 4096, 1: 4096}, page_size=2**30).cells == ()


@pytest.mark.parametrize(("real", "told"), [(10, 11), (21, 21), (255, 254)])
def test_distances_are_what_libvirt_takes(real: int, told: int) -> None:
    topology = host(*[(cpu, cpu, cpu, cpu) for cpu in range(2)], distance=real)
    assert [cell.distances for cell in mirror(topology, range(2), {0: GIB, 1: GIB}).cells] == [{1: told}, {0: told}]
