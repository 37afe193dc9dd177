"""How KubeVirt places a VM with `dedicatedCpuPlacement`: the kubelet's CPU manager chooses, in our own words.

Modelled, after Kubernetes' documentation of the static policy and the topology manager:
- free CPUs are taken top down: whole sockets (or NUMA nodes, whichever hold the other) while as many are wanted, then
  whole cores, then single threads; each time those first that have the fewest free CPUs, then the lowest numbers;
- `full-pcpus-only`: whole cores only, and a number of vCPUs that does not fill cores is refused;
- with the topology manager's `best-effort`, first a set of NUMA nodes is agreed on by the CPU manager (sets with enough
  free CPUs; those as small as the host allows at all are preferred) and the device manager (sets with the device; the
  node itself is preferred). A set that both prefer wins, else one of the size that the neediest of them asks for, of
  the lowest numbers. What fits is taken there, the rest anywhere. By default (`none`) nodes are not looked at.

Not modelled: which host is chosen, CPUs reserved for the system, the memory manager (off by default), other policy
options. The emulator thread by default runs where the vCPUs do: it is judged as if it had been moved off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from kvmctl.plan.topology import HostCpu, Topology

Home = Callable[[HostCpu], int]


def by_node(cpu: HostCpu) -> int:
    return cpu.node


def by_socket(cpu: HostCpu) -> int:
    return cpu.socket


def by_core(cpu: HostCpu) -> int:
    return cpu.core


class Kubelet:
    """One host, as far as the kubelet looks."""

    def __init__(self, topology: Topology, free: frozenset[int], *, aligned: bool) -> None:
        self.cpus = {number: topology.cpus[number] for number in topology.online}
        self.free, self.aligned = free, aligned
        sockets, nodes = (len(set(map(home, self.cpus.values()))) for home in (by_socket, by_node))
        self.levels: tuple[Home, ...] = (by_node, by_socket) if sockets >= nodes else (by_socket, by_node)
        self.levels += (by_core,)
        self.places: dict[tuple[Home, int], set[int]] = {}
        """The CPUs of each socket, node and core."""
        for number, cpu in self.cpus.items():
            for home in self.levels:
                self.places.setdefault((home, home(cpu)), set()).add(number)

    def place(self, vcpus: int, *, whole: bool = False, near: tuple[int, ...] = ()) -> frozenset[int] | None:
        """The CPUs of a VM."""
        free = set(self.free)
        if whole:
            free = {number for number in free if self.places[by_core, self.cpus[number].core] <= free}
            if vcpus % max(len(cpus) for (home, _), cpus in self.places.items() if home is by_core):
                return None
        if vcpus > len(free):
            return None
        nodes = self._agreed(free, vcpus, near) if self.aligned else None
        local = free if nodes is None else {number for number in free if self.cpus[number].node in nodes}
        chosen = self._take(local, min(vcpus, len(local)))
        return frozenset(chosen | self._take(free - chosen, vcpus - len(chosen)))

    def _take(self, free: set[int], wanted: int) -> set[int]:
        taken: set[int] = set()
        for home in self.levels:
            for place in self._order(free - taken, home):
                whole = self.places[home, place]
                if whole <= free - taken and len(whole) <= wanted - len(taken):
                    taken |= whole
        for core in self._order(free - taken, by_core):
            rest = sorted((free - taken) & self.places[by_core, core])
            taken |= set(rest[: wanted - len(taken)])
        return taken

    def _order(self, free: set[int], last: Home) -> list[int]:
        """Sockets, nodes or cores: in each larger one, those with the fewest free CPUs first."""
        homes = self.levels[: self.levels.index(last) + 1]
        counts = Counter((home, home(self.cpus[number])) for number in free for home in homes)
        keys = {
            last(cpu): tuple((counts[home, home(cpu)], home(cpu)) for home in homes)
            for cpu in map(self.cpus.__getitem__, free)
        }
        return sorted(keys, key=lambda place: keys[place])

    def _sets(self) -> Iterator[frozenset[int]]:
        """Sets of nodes, small ones first, then those with the lowest bits."""
        nodes = sorted({cpu.node for cpu in self.cpus.values()})
        for count in range(1, len(nodes) + 1):
            yield from sorted(
                map(frozenset, combinations(nodes, count)), key=lambda some: sum(1 << one for one in some)
            )

    def _agreed(self, free: set[int], vcpus: int, near: tuple[int, ...]) -> frozenset[int]:
        def among(cpus: set[int], nodes: frozenset[int]) -> int:
            return sum(self.cpus[number].node in nodes for number in cpus)

        possible = [some for some in self._sets() if among(free, some) >= vcpus]
        least = next(len(some) for some in self._sets() if among(set(self.cpus), some) >= vcpus)
        wanted = frozenset(near)
        if not wanted:
            return possible[0]
        if len(wanted) == least and wanted in possible:
            return wanted
        size = max(len(possible[0]), len(wanted))
        both = [some & other for some in possible for other in self._sets() if wanted <= other and some & other]
        return min(both, key=lambda some: (abs(len(some) - size), sum(1 << one for one in some)))
