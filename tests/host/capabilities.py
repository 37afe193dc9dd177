"""Capabilities of hosts of many kinds, written as libvirt writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kvmctl.spec.kinds import show_cpus

NO_CLUSTER = 65535


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """One CPU; without `siblings` it is told as libvirt tells one that went offline: by its number alone."""

    number: int
    socket: int = 0
    die: int = 0
    cluster: int | None = None
    core: int = 0
    siblings: Sequence[int] = ()

    def __str__(self) -> str:
        if not self.siblings:
            return f"<cpu id='{self.number}'/>"
        cluster = "" if self.cluster is None else f" cluster_id='{self.cluster}'"
        return (
            f"<cpu id='{self.number}' socket_id='{self.socket}' die_id='{self.die}'{cluster} core_id='{self.core}' "
            f"siblings='{show_cpus(frozenset(self.siblings))}'/>"
        )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One NUMA node. Memory is in KiB; pages are counts by size in KiB."""

    number: int
    cpus: Sequence[Cpu] = ()
    memory: int | None = 16 * 2**20
    pages: Mapping[int, int] = field(default_factory=lambda: {4: 4 * 2**20, 2048: 0, 1048576: 0})
    distances: Mapping[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        memory = "" if self.memory is None else f"<memory unit='KiB'>{self.memory}</memory>"
        pages = "".join(f"<pages unit='KiB' size='{size}'>{count}</pages>" for size, count in self.pages.items())
        distances = "".join(f"<sibling id='{node}' value='{value}'/>" for node, value in self.distances.items())
        cpus = "\n".join(map(str, self.cpus))
        return (
            f"<cell id='{self.number}'>\n{memory}{pages}\n<distances>{distances}</distances>\n"
            f"<cpus num='{len(self.cpus)}'>\n{cpus}\n</cpus>\n</cell>"
        )


def document(cells: Iterable[Cell], caches: Iterable[str] = (), *, each_cpu: bool = False) -> str:
    """The whole text. `caches` are the CPUs of each L3 cache; with `each_cpu` each is told once for every CPU in it."""
    cells = list(cells)
    numbers = [cpu.number for cell in cells for cpu in cell.cpus]
    banks = [f"<bank id='{number}' level='2' type='both' size='1' unit='MiB' cpus='{number}'/>" for number in numbers]
    for number, cpus in enumerate(caches):
        repeated = range(number * 8, number * 8 + 8) if each_cpu else (number,)
        banks += [f"<bank id='{bank}' level='3' type='both' size='32' unit='MiB' cpus='{cpus}'/>" for bank in repeated]
    inside = "\n".join(map(str, cells))
    return (
        "<capabilities>\n<host>\n<cpu><arch>x86_64</arch><pages unit='KiB' size='4'/></cpu>\n"
        f"<topology>\n<cells num='{len(cells)}'>\n{inside}\n</cells>\n</topology>\n"
        f"<cache>\n{''.join(bank + chr(10) for bank in banks)}</cache>\n</host>\n</capabilities>\n"
    )


def square(distances: Sequence[Sequence[int]]) -> list[dict[int, int]]:
    return [dict(enumerate(row)) for row in distances]


def desktop() -> str:
    """One node, one socket, eight cores without threads."""
    cpus = [Cpu(number=number, core=number, siblings=[number]) for number in range(8)]
    return document([Cell(number=0, cpus=cpus, distances={0: 10})], ["0-7"])


def server(cores: int = 2, nodes: int = 2) -> str:
    """Two threads a core, one socket a node; threads of a core are numbered as firmware does it: half of all apart."""
    half = cores * nodes
    cells = []
    for node in range(nodes):
        cpus = [
            Cpu(number=thread + core, socket=node, core=core - node * cores, siblings=[core, core + half])
            for thread in (0, half)
            for core in range(node * cores, (node + 1) * cores)
        ]
        distances = {other: 10 if other == node else 21 for other in range(nodes)}
        pages = {4: 4 * 2**20, 2048: 1024 * (node == 0), 1048576: 0}
        cells.append(Cell(number=node, cpus=cpus, distances=distances, pages=pages))
    caches = [
        f"{n * cores}-{(n + 1) * cores - 1},{half + n * cores}-{half + (n + 1) * cores - 1}" for n in range(nodes)
    ]
    return document(cells, caches)


def epyc(sockets: int = 1, ccds: int = 4, cores: int = 4) -> str:
    """AMD with four nodes in a socket (NPS4): L3 caches ("CCX") within the nodes, a die for each node."""
    nodes = 4 * sockets
    half = nodes * ccds // 4 * cores
    each = ccds // 4 * cores if ccds >= 4 else cores
    cells, caches = [], []
    for node in range(nodes):
        first = range(node * each, (node + 1) * each)
        cpus = [
            Cpu(
                number=thread + core,
                socket=node // 4,
                die=node % 4,
                core=core % (4 * each),
                siblings=[core, core + half],
            )
            for thread in (0, half)
            for core in first
        ]
        distances = {other: 10 if other == node else 12 if other // 4 == node // 4 else 32 for other in range(nodes)}
        cells.append(Cell(number=node, cpus=cpus, memory=64 * 2**20, distances=distances))
        caches += [f"{start}-{start + cores - 1},{start + half}-{start + half + cores - 1}" for start in first[::cores]]
    return document(cells, caches, each_cpu=True)


def clustered() -> str:
    """Intel with two nodes in a socket (SNC2), and one L3 cache that both share."""
    table = square([[10, 11, 21, 21], [11, 10, 21, 21], [21, 21, 10, 11], [21, 21, 11, 10]])
    cells = []
    for node in range(4):
        cpus = [
            Cpu(number=number, socket=node // 2, core=(node % 2) * 4 + number % 4, siblings=[number])
            for number in range(node * 4, node * 4 + 4)
        ]
        cells.append(Cell(number=node, cpus=cpus, distances=table[node]))
    return document(cells, ["0-7", "8-15"])


def hybrid() -> str:
    """Two P-cores with two threads, four E-cores with one in a cluster, and two low-power cores without an L3 cache."""
    cpus = [Cpu(number=n, cluster=NO_CLUSTER, core=n // 2 * 4, siblings=[n // 2 * 2, n // 2 * 2 + 1]) for n in range(4)]
    cpus += [Cpu(number=n, cluster=8, core=n + 4, siblings=[n]) for n in range(4, 8)]
    cpus += [Cpu(number=n, cluster=64, core=n + 24, siblings=[n]) for n in range(8, 10)]
    return document([Cell(number=0, cpus=cpus, distances={0: 10})], ["0-7"])


def arm() -> str:
    """Clusters of four cores, two nodes, socket numbers as firmware makes them up, 64 KiB pages, no L3 told."""
    cells = []
    for node in range(2):
        cpus = [
            Cpu(number=n, socket=36 + node * 3180, cluster=n // 4 * 4, core=n, siblings=[n])
            for n in range(node * 8, node * 8 + 8)
        ]
        pages = {64: 2**18, 2048: 16, 524288: 4, 16777216: 0}
        cells.append(Cell(number=node, cpus=cpus, pages=pages, distances={node: 10, 1 - node: 20}))
    return document(cells)


def lopsided() -> str:
    """A node without memory, one without CPUs (CXL), numbers with holes, a CPU that is told to be offline."""
    one = [Cpu(number=n, core=n, siblings=[n]) for n in (0, 1, 2)] + [Cpu(number=3)]
    two = [Cpu(number=n, socket=1, core=n - 8, siblings=[n]) for n in (8, 9, 12, 13)]
    return document(
        [
            Cell(number=0, cpus=one, distances={0: 10, 2: 20, 5: 14}),
            Cell(number=2, cpus=two, memory=0, pages={}, distances={0: 20, 2: 10, 5: 24}),
            Cell(number=5, distances={0: 14, 2: 24, 5: 10}),
        ],
        ["0-3", "8-9,12-13"],
    )


def without_numa() -> str:
    """What libvirt makes up where the kernel has no NUMA: one node, without pages and distances."""
    cpus = [Cpu(number=n, core=n // 2, siblings=[n // 2 * 2, n // 2 * 2 + 1]) for n in range(4)]
    return document([Cell(number=0, cpus=cpus, memory=8 * 2**20, pages={})])
