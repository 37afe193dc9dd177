"""What a plan may know of a host's processors and memory: CPUs, cores, L3 groups, NUMA nodes, and who is where.

Facts only, filled by `host/topology.py` and `host/tenants.py`. Sizes are bytes; CPU sets are frozensets of the kernel's
CPU numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

LOCAL = 10
"""The distance of a node to itself, in ACPI's System Locality Information Table."""

NOWHERE = -1
"""The node of a CPU that is offline on a host which does not tell where it is."""

EMULATOR = "emulator"
"""All of QEMU's own threads."""


def iothread(number: int) -> str:
    """The name of an iothread."""
    return f"iothread{number}"


@dataclass(frozen=True, kw_only=True)
class HostCpu:
    """One logical CPU of the host.

    `core` and `cache` are unique on the host: CPUs with the same `core` are threads of one core, CPUs with the same
    `cache` share an L3 cache (CPUs of a host that does not tell its caches share one for each die). Both are named
    after the lowest CPU that has them. `isolated` is None where it is not known, since libvirt does not tell it.
    """

    number: int
    node: int
    core: int
    cache: int
    socket: int = 0
    die: int = 0
    cluster: int = 0
    online: bool = True
    isolated: bool | None = None


@dataclass(frozen=True, kw_only=True)
class PagePool:
    """The huge pages of one size on one node: how many there are, and how many of them nobody uses."""

    total: int
    free: int


@dataclass(frozen=True, kw_only=True)
class NumaNode:
    """One NUMA node. It may have no CPUs, or no memory. `distances` maps every node to its distance from here."""

    number: int
    memory: int
    free: int
    pages: Mapping[int, PagePool] = field(default_factory=dict)
    """By size of page, huge ones only."""
    distances: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A PCI device of the host; `what` says in a word what kind it is. A `virtual` one is a function of another."""

    address: str
    node: int | None
    what: str = ""
    product: str = ""
    virtual: bool = False
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Processors, memory and devices of one host."""

    cpus: Mapping[int, HostCpu]
    nodes: Mapping[int, NumaNode]
    devices: tuple[Device, ...] = ()

    @cached_property
    def online(self) -> frozenset[int]:
        return frozenset(number for number, cpu in self.cpus.items() if cpu.online)

    @cached_property
    def cores(self) -> Mapping[int, tuple[int, ...]]:
        """The online threads of each core, lowest first."""
        found: dict[int, list[int]] = {}
        for number in sorted(self.online):
            found.setdefault(self.cpus[number].core, []).append(number)
        return {core: tuple(threads) for core, threads in found.items()}

    def distance(self, one: int, other: int) -> int:
        """How much farther than local memory two nodes are, there and back; 0 for the same node or unknown ones.

        Tables need not be symmetric, so both directions count.
        """
        if one == other or one not in self.nodes or other not in self.nodes:
            return 0
        there = self.nodes[one].distances.get(other, 2 * LOCAL)
        back = self.nodes[other].distances.get(one, 2 * LOCAL)
        return max(0, there + back - 2 * LOCAL)


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One VM of the host, as far as it matters to the placement of another.

    `vcpus` maps each vCPU that is pinned to its CPUs, and is empty for a VM that floats. `emulator` and `iothreads` are
    what QEMU's other threads are pinned to. `automatic` says that kvmctl chose the pins of those, and may move them
    when somebody else needs the CPUs, but for those in `by_hand`; pins made by hand are left alone. `pooled` says that
    kvmctl keeps this VM, which has no pins of its own, off the CPUs that exclusive VMs have.
    """

    vm: str
    uuid: str = ""
    running: bool = True
    count: int = 1
    vcpus: Mapping[int, frozenset[int]] = field(default_factory=dict)
    emulator: frozenset[int] | None = None
    iothreads: Mapping[int, frozenset[int]] = field(default_factory=dict)
    iothread_count: int = 0
    exclusive: bool = False
    whole_cores: bool = False
    """With `exclusive`: the other threads of its cores are nobody's either."""
    automatic: bool = False
    by_hand: frozenset[str] = frozenset()
    """`EMULATOR`, and iothreads as `iothread` names them."""
    pooled: bool = False
    memory: int = 0
    page_size: int | None = None
    memory_nodes: frozenset[int] = frozenset()
    """Where its memory must lie; empty if it may lie anywhere."""

    def on(self, topology: Topology) -> Tenant:
        """This VM on a host: what is pinned to all CPUs that are online there floats."""
        bound = {number: cpus for number, cpus in self.vcpus.items() if not topology.online <= cpus}
        threads = {number: cpus for number, cpus in self.iothreads.items() if not topology.online <= cpus}
        emulator = None if self.emulator is None or topology.online <= self.emulator else self.emulator
        return replace(self, vcpus=bound, emulator=emulator, iothreads=threads)

    @cached_property
    def pinned(self) -> frozenset[int]:
        """All CPUs that its vCPUs are pinned to; empty for one that floats or is pooled."""
        return frozenset() if self.pooled else frozenset().union(*self.vcpus.values())

    @cached_property
    def handmade(self) -> tuple[frozenset[int], ...]:
        """The pins of QEMU's other threads that were made by hand; none of one that is pooled."""
        if self.pooled:
            return ()
        pins = {EMULATOR: self.emulator} | {iothread(number): cpus for number, cpus in self.iothreads.items()}
        return tuple(cpus for name, cpus in pins.items() if cpus and (not self.automatic or name in self.by_hand))
