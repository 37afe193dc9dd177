"""Random hosts, VMs and wishes: a problem for each number, the same one every time.

Everything a host may have: CPUs that are offline or isolated, cores with one, two and four threads side by side, L3
groups within a node and across nodes, nodes without CPUs or without memory, distances that differ by direction, numbers
with gaps; and VMs that are in the way in every manner that libvirt allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from kvmctl.plan.placement.wish import POLICIES, THREADS, Wish
from kvmctl.plan.topology import HostCpu, NumaNode, PagePool, Tenant, Topology
from tests.plan.placement.definition import Problem

GIB = 1024**3
HUGE = 2 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large things may get."""

    nodes: int
    caches: int
    cores: int
    cpus: int
    tenants: int


SMALL = Size(nodes=4, caches=3, cores=4, cpus=10, tenants=3)
"""At most 252 choices of CPUs: all can be tried."""
MIDDLE = Size(nodes=6, caches=4, cores=6, cpus=40, tenants=8)


def problem(seed: int, size: Size = SMALL) -> Problem:
    """The problem with this number."""
    random = Random(seed)
    topology = host(random, size)
    crowded = random.random() < 0.25
    count = random.randint(size.tenants, 4 * size.tenants) if crowded else random.randint(0, size.tenants)
    tenants = tuple(tenant(random, topology, number, polite=crowded) for number in range(count))
    available = {number: node.free for number, node in topology.nodes.items()}
    wanted = wish(random, topology, sum(available.values()), modest=crowded)
    return Problem(topology=topology, tenants=tenants, wish=wanted, available=available)


def host(random: Random, size: Size) -> Topology:
    """A host with at least one CPU online."""
    numbers = sorted(random.sample(range(size.nodes + 3), random.choice((1, 2, 2, 3, size.nodes))))
    homes = _cores(random, size, numbers)
    cpus = _cpus(random, size, homes)
    units = random.choice((1, GIB, HUGE))
    nodes = {}
    distances = _distances(random, numbers)
    for number in numbers:
        free = random.choice((0, 1, 2, 3, 4, 8)) * units
        nodes[number] = NumaNode(
            number=number,
            memory=free + random.randint(0, 2) * units,
            free=free,
            pages={HUGE: PagePool(total=free // HUGE, free=free // HUGE)} if random.random() < 0.3 else {},
            distances={other: far for (one, other), far in distances.items() if one == number},
        )
    return Topology(cpus=cpus, nodes=nodes)


def _cores(random: Random, size: Size, nodes: list[int]) -> list[tuple[int, int]]:
    """The node and L3 group of each core."""
    homes: list[tuple[int, int]] = []
    cache = random.randint(0, 5)
    even = (random.randint(1, size.caches), random.randint(1, size.cores)) if random.random() < 0.5 else None
    across = random.random() < 0.2
    for node in nodes:
        if random.random() < 0.12:
            continue  # a node without CPUs
        for _ in range(even[0] if even else random.randint(1, size.caches)):
            # Sub-NUMA clustering: the nodes of a socket share one L3.
            cache += 0 if across and homes and random.random() < 0.6 else random.choice((1, 1, 2))
            homes += [(node, cache)] * (even[1] if even else random.randint(1, size.cores))
    return homes or [(nodes[0], cache)]


def _cpus(random: Random, size: Size, homes: list[tuple[int, int]]) -> dict[int, HostCpu]:
    """CPUs numbered as hosts do it: thread by thread, core by core, or by no rule; some of them off."""
    smt = random.choice((1, 1, 2, 2, 2, 4, 0))
    threads = [
        (thread, place, home)
        for place, home in enumerate(homes)
        for thread in range(smt or random.choice((1, 2, 2, 4)))  # 0: cores of several kinds
    ]
    order = random.randint(0, 2)
    if order == 0:
        threads.sort(key=lambda item: item[0])
    elif order == 1:
        random.shuffle(threads)
    threads = threads[: size.cpus]
    gaps = random.random() < 0.3
    numbers = sorted(random.sample(range(3 * len(threads)), len(threads))) if gaps else range(len(threads))
    off = random.choice((0, 0, 0.1, 0.3))
    alone = random.choice((None, 0, 0.3, 1))
    first = random.randint(0, 9)
    cpus = {
        number: HostCpu(
            number=number,
            node=home[0],
            core=first + 2 * place,
            cache=home[1],
            socket=home[0] // 2,
            die=home[1] // 2,
            cluster=place // 2,
            online=random.random() >= off,
            isolated=None if alone is None else random.random() < alone,
        )
        for number, (_, place, home) in zip(numbers, threads)
    }
    if not any(cpu.online for cpu in cpus.values()):
        return _cpus(random, size, homes)
    return cpus


def _distances(random: Random, nodes: list[int]) -> dict[tuple[int, int], int]:
    """Mostly as firmware has them; some the same everywhere, some not symmetric, some with holes."""
    kind = random.choice(("even", "two", "symmetric", "symmetric", "free", "holes"))
    table: dict[tuple[int, int], int] = {}
    for one in nodes:
        for other in nodes:
            if one == other:
                far = 10
            elif kind == "even":
                far = 20
            elif kind == "two":
                far = 12 if one // 2 == other // 2 else 32
            elif kind == "symmetric" and one > other:
                far = table[other, one]
            else:
                far = random.choice((10, 11, 12, 16, 20, 21, 31, 32, 255))
            if kind != "holes" or random.random() < 0.7:
                table[one, other] = far
    return table


def _some(random: Random, numbers: list[int], most: int) -> frozenset[int]:
    return frozenset(random.sample(numbers, random.randint(1, min(most, len(numbers)))))


def tenant(random: Random, topology: Topology, number: int, *, polite: bool) -> Tenant:
    """A VM in the way, or one that only seems to be; polite ones want nothing for themselves alone."""
    cpus = sorted(topology.cpus)
    every = [*cpus, max(cpus) + 1] if random.random() < 0.1 else cpus  # pinned to a CPU the host has not
    kind = random.choice(("one", "one", "one", "wide", "floating", "part"))
    count = random.choice((1, 1, 2, 3))
    vcpus: dict[int, frozenset[int]] = {}
    if kind == "one":
        vcpus = {index: _some(random, every, 1) for index in range(count)}
    elif kind == "wide":
        vcpus = dict.fromkeys(range(count), _some(random, every, 4))
    elif kind == "part":  # some vCPUs pinned, others not
        vcpus = {index: _some(random, every, 2) for index in range(count) if random.random() < 0.5}
    iothreads = random.choice((0, 0, 1, 2))
    exclusive = not polite and random.random() < 0.25
    return Tenant(
        vm=f"vm{number}",
        uuid=f"{number:032x}",
        running=random.random() < 0.8,
        count=count,
        vcpus=vcpus,
        emulator=_some(random, every, 3) if random.random() < 0.25 else None,
        iothreads={index: _some(random, every, 2) for index in range(1, iothreads + 1) if random.random() < 0.5},
        iothread_count=iothreads,
        exclusive=exclusive,
        whole_cores=exclusive and random.random() < 0.4,
        automatic=random.random() < 0.5,
        pooled=random.random() < 0.1,
        memory=random.choice((0, GIB)),
    )


def wish(random: Random, topology: Topology, memory: int, *, modest: bool) -> Wish:
    """A wish that may or may not fit; modest ones often do beside many others."""
    nodes, cpus = sorted(topology.nodes), sorted(topology.cpus)
    online = len(topology.online)
    return Wish(
        vm="wanted",
        vcpus=random.randint(1, online + 1) if random.random() < 0.2 else random.randint(1, max(1, online // 2)),
        memory=random.choice((0, 0, 1, memory // 4, memory // 3, memory // 2, memory, memory + 1)),
        page_size=HUGE if random.random() < 0.2 else None,
        strict=random.random() < 0.3,
        policy=random.choice(("compact", "spread") if modest else POLICIES),
        threads="share" if modest and random.random() < 0.7 else random.choice(THREADS),
        exclusive=random.random() < (0.05 if modest else 0.25),
        near=tuple(random.choices([*nodes, nodes[-1] + 1], k=random.choice((1, 1, 2))))
        if random.random() < 0.3
        else (),
        helpers=random.choice((0, 1, 1, 2, 3)),
        cpus=_some(random, cpus, len(cpus)) if random.random() < 0.15 else None,
        nodes=_some(random, nodes, len(nodes)) if random.random() < 0.15 else None,
    )
