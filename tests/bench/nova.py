"""How OpenStack Nova's libvirt driver places a VM with `hw:cpu_policy=dedicated`, in our own words.

Modelled, after Nova's documentation and release notes:
- the host's NUMA cells are tried in order: those with a device that is wanted (or without one, if none is wanted), then
  by free CPUs, then by free memory; most first ("spread", the default since 2022) or least first ("pack");
- the first cells that fit are taken, one for each NUMA node of the guest, each with an even part of vCPUs and memory,
  which must fit: pinned VMs never overcommit;
- in a cell, cores are taken in the host's order. `isolate`: one thread of each fully free core. `require` and `prefer`:
  as many threads of each core as the greatest number for which there are enough such cores; `prefer` falls back to
  single free threads.

Not modelled: which host is chosen, placement allocations, pages of several sizes, emulator threads (which by default
run where the vCPUs do: they are judged as if they had been moved off). How many NUMA nodes the guest has
(`hw:numa_nodes`) is somebody's choice; here it is the least number with which it fits.
"""

from __future__ import annotations

from itertools import permutations

from kvmctl.plan.topology import Topology

POLICIES = {"share": "prefer", "siblings": "require", "own_core": "isolate"}
"""Nova's word for what our wish calls `threads`."""


class Nova:
    """One host, as far as Nova looks."""

    def __init__(self, topology: Topology, free: frozenset[int], room: dict[int, int], *, pack: bool) -> None:
        self.topology, self.free, self.room, self.pack = topology, free, room, pack

    def place(self, vcpus: int, memory: int, policy: str, near: tuple[int, ...] = ()) -> frozenset[int] | None:
        """The CPUs of a guest with as few NUMA nodes as possible."""
        for count in range(1, min(len(self.topology.nodes), vcpus) + 1):
            parts = [vcpus // count + (index < vcpus % count) for index in range(count)]
            for cells in permutations(self._cells(near), count):
                taken = [self._fit(cell, part, memory // count, policy) for cell, part in zip(cells, parts)]
                chosen = frozenset(number for some in taken if some for number in some)
                if all(taken) and (not near or set(near) & set(cells)):
                    return chosen
        return None

    def _cells(self, near: tuple[int, ...]) -> list[int]:
        cells = sorted(self.topology.nodes)
        cells.sort(key=lambda cell: self.room[cell], reverse=not self.pack)
        cells.sort(key=lambda cell: len(self._here(cell)), reverse=not self.pack)
        cells.sort(key=lambda cell: cell not in near)
        return cells

    def _here(self, cell: int) -> list[int]:
        return [number for number in sorted(self.free) if self.topology.cpus[number].node == cell]

    def _fit(self, cell: int, vcpus: int, memory: int, policy: str) -> list[int] | None:
        here = self._here(cell)
        if len(here) < vcpus or self.room[cell] < memory:
            return None
        mine = [threads for threads in self.topology.cores.values() if self.topology.cpus[threads[0]].node == cell]
        most = max(map(len, mine))
        cores = [[number for number in threads if number in self.free] for threads in mine]
        if policy == "isolate":
            whole = [threads[0] for threads in cores if len(threads) == most]
            return whole[:vcpus] if len(whole) >= vcpus else None
        for count in range(most, 1 if policy == "require" else 0, -1):
            taken = [number for threads in cores if len(threads) >= count for number in threads[:count]]
            if len(taken) >= vcpus:
                return taken[:vcpus]
        flat = [number for threads in cores for number in threads]
        return flat[:vcpus] if policy == "prefer" else None
