"""Servers as they are bought, and VMs on them as people pin them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from kvmctl.plan.topology import HostCpu, NumaNode, Tenant, Topology

GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Server:
    """What a data sheet says. `cluster`: so many nodes of a socket share each L3 cache (sub-NUMA clustering)."""

    name: str
    sockets: int
    nodes: int = 1
    """Per socket."""
    caches: int = 1
    """Per node."""
    cores: int
    """Per L3 cache, or per node with `cluster`."""
    threads: int = 2
    cluster: bool = False
    memory: int = 256 * GIB
    """Per node."""

    def topology(self) -> Topology:
        """CPUs numbered as Linux does on such machines: first threads first, socket after socket."""
        homes = [
            (socket, node, node // self.nodes if self.cluster else node * self.caches + cache)
            for socket in range(self.sockets)
            for node in range(socket * self.nodes, (socket + 1) * self.nodes)
            for cache in range(1 if self.cluster else self.caches)
            for _ in range(self.cores)
        ]
        cpus = {}
        for thread in range(self.threads):
            for core, (socket, node, cache) in enumerate(homes):
                number = thread * len(homes) + core
                cpus[number] = HostCpu(number=number, node=node, core=core, cache=cache, socket=socket, die=cache)
        numbers = range(self.sockets * self.nodes)
        nodes = {
            one: NumaNode(
                number=one,
                memory=self.memory,
                free=self.memory,
                distances={other: self._distance(one, other) for other in numbers},
            )
            for one in numbers
        }
        return Topology(cpus=cpus, nodes=nodes)

    def _distance(self, one: int, other: int) -> int:
        if one == other:
            return 10
        return 12 if one // self.nodes == other // self.nodes else 32


LARGE = Server(name="2 x 96 cores, 12 L3 each", sockets=2, caches=12, cores=8, memory=1152 * GIB)
SERVERS = (
    Server(name="1 x 8 cores", sockets=1, cores=8, memory=64 * GIB),
    Server(name="2 x 16 cores", sockets=2, cores=16),
    Server(name="2 x 32 cores, 4 L3 each", sockets=2, caches=4, cores=8),
    Server(name="1 x 64 cores, 4 nodes, 8 L3", sockets=1, nodes=4, caches=2, cores=8),
    Server(name="2 x 24 cores, 2 nodes each over one L3", sockets=2, nodes=2, cores=12, cluster=True),
    Server(name="2 x 80 cores without threads", sockets=2, cores=80, threads=1),
    LARGE,
)
EIGHT = Server(name="2 x 64 cores, 4 nodes and 8 L3 each", sockets=2, nodes=4, caches=2, cores=8)
SIXTEEN = Server(name="8 x 24 cores, 2 nodes each over one L3", sockets=8, nodes=2, cores=12, cluster=True)


def residents(random: Random, topology: Topology, count: int, *, most: int = 8) -> tuple[Tenant, ...]:
    """VMs that came and went over time: some float, some are pinned well, some badly, some to CPUs of their own."""
    free = dict.fromkeys(topology.cpus, True)
    found = []
    for index in range(count):
        kind = random.choices(("floating", "pinned", "exclusive", "wide"), (35, 35, 15, 15))[0]
        vcpus = random.choice([size for size in (1, 2, 2, 4, 4, 8, 16) if size <= most])
        node = random.choice(list(topology.nodes))
        here = [number for number, cpu in sorted(topology.cpus.items()) if cpu.node == node]
        unused = [number for number in here if free[number]]
        pins: dict[int, frozenset[int]] = {}
        if kind == "wide":
            start = random.randrange(max(1, len(here) - 8))
            pins = dict.fromkeys(range(vcpus), frozenset(here[start : start + 8]))
        elif kind != "floating" and len(unused) >= vcpus:
            start = random.randrange(len(unused) - vcpus + 1)
            pins = {vcpu: frozenset({unused[start + vcpu]}) for vcpu in range(vcpus)}
            if random.random() < 0.4:
                pins = whole(topology, unused, vcpus) or pins
        for cpus in pins.values():
            free.update(dict.fromkeys(cpus, False))
        found.append(
            Tenant(
                vm=f"vm{index}",
                count=vcpus,
                vcpus=pins,
                emulator=frozenset(random.sample(here, 2)) if random.random() < 0.1 else None,
                exclusive=kind == "exclusive" and bool(pins),
                automatic=random.random() < 0.5,
                memory=vcpus * random.choice((1, 2, 4)) * GIB,
                memory_nodes=frozenset({node}) if pins else frozenset(),
            )
        )
    return tuple(found)


def whole(topology: Topology, unused: list[int], vcpus: int) -> dict[int, frozenset[int]]:
    """Whole cores of those unused, if there are enough."""
    cores = [threads for threads in topology.cores.values() if set(threads) <= set(unused)]
    cpus = [number for threads in cores for number in threads][:vcpus]
    return {vcpu: frozenset({number}) for vcpu, number in enumerate(cpus)} if len(cpus) == vcpus else {}


def room(topology: Topology, tenants: tuple[Tenant, ...]) -> dict[int, int]:
    """Memory for one more VM, by node: what others were promised is gone."""
    found = {number: node.memory for number, node in topology.nodes.items()}
    for one in tenants:
        nodes = one.memory_nodes or found.keys()
        for number in sorted(nodes):
            found[number] = max(0, found[number] - one.memory // len(nodes))
    return found
