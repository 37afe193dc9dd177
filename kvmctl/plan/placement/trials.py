"""Would a wish fit, if some of the other VMs were not there? Tries cheaply first, then asks the planner. Pure.

What VMs spoil for a wish adds up: a CPU is usable if no VM alone would spoil it. So a try is set arithmetic, and the
planner is asked only where that says yes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmctl.plan.placement.ground import Ground
from kvmctl.plan.placement.memory import available
from kvmctl.plan.placement.solver import place

if TYPE_CHECKING:
    from kvmctl.plan.placement.wish import Placement, Wish
    from kvmctl.plan.topology import Tenant, Topology
    from kvmctl.spec.kinds import CpuSet


@dataclass(frozen=True, kw_only=True)
class Trials:
    """One wish among the VMs of a host; VMs that are taken away are named by their places in `tenants`."""

    topology: Topology
    tenants: Sequence[Tenant]
    wish: Wish
    available: Mapping[int, int]

    @property
    def rigid(self) -> bool:
        """Whether the memory must fit."""
        return self.wish.strict or self.wish.page_size is not None

    def _usable(self, tenants: Sequence[Tenant]) -> CpuSet:
        return Ground(topology=self.topology, tenants=tenants, wish=self.wish).usable

    @cached_property
    def empty(self) -> CpuSet:
        """CPUs that would be usable, were nobody else there."""
        return self._usable(())

    @cached_property
    def spoiled(self) -> tuple[CpuSet, ...]:
        """What each of the others makes unusable."""
        return tuple(
            self.empty - self._usable((tenant,)) if counted(tenant) else frozenset() for tenant in self.tenants
        )

    @cached_property
    def _times(self) -> Counter[int]:
        """How many VMs spoil each CPU."""
        return Counter(number for cpus in self.spoiled for number in cpus)

    @cached_property
    def concerned(self) -> tuple[int, ...]:
        """VMs that take something away which the wish could have."""
        return tuple(index for index in range(len(self.tenants)) if self.spoiled[index] or self.holds_memory(index))

    def holds_memory(self, index: int) -> bool:
        """Whether memory of a VM is of the kind that the wish must have, and where it may have it."""
        tenant, wish = self.tenants[index], self.wish
        where = (tenant.memory_nodes & self.topology.nodes.keys()) or self.topology.nodes.keys()
        there = wish.nodes is None or not wish.nodes.isdisjoint(where)
        return self.rigid and there and tenant.memory > 0 and tenant.page_size == wish.page_size

    def cpus(self, away: Collection[int] = ()) -> CpuSet:
        """Usable CPUs without some of the VMs."""
        if not away:
            return self._usable(self.tenants)
        freed = Counter(number for index in away for number in self.spoiled[index])
        return self.empty.difference(number for number, times in self._times.items() if times > freed[number])

    def seats(self, away: Collection[int] = ()) -> int:
        """How many vCPUs can be placed on them."""
        known, found = self.topology.cpus, Counter[int]()
        for number in self.cpus(away):
            found[known[number].core] += 1
        if self.wish.threads == "own_core":
            return len(found)
        if self.wish.threads == "siblings":  # at most one core is used in part
            parts = {core: count for core, count in found.items() if count < len(self.topology.cores[core])}
            return found.total() - sum(parts.values()) + max(parts.values(), default=0)
        return found.total()

    def room(self, away: Collection[int] = ()) -> dict[int, int]:
        """Memory by node without some of the VMs: what was given, and what they would give back."""
        room = dict(self.available)
        if not away:
            return room
        size = self.wish.page_size
        left = [tenant for index, tenant in enumerate(self.tenants) if index not in away]
        before, after = (available(self.topology, who, size) for who in (self.tenants, left))
        for node in after:
            room[node] = room.get(node, 0) + after[node] - before[node]
        for index in away:
            tenant = self.tenants[index]
            if size is not None and tenant.running and tenant.page_size == size:
                _give_back(room, self.topology, tenant, size)
        return room

    def memory(self, away: Collection[int] = ()) -> int:
        """All the memory that the wish may have."""
        nodes = self.wish.nodes
        return sum(size for node, size in self.room(away).items() if nodes is None or node in nodes)

    def fits(self, away: Collection[int] = ()) -> Placement | None:
        """The placement without some of the VMs; None if there is none."""
        if self.seats(away) < self.wish.vcpus or (self.rigid and self.memory(away) < self.wish.memory):
            return None
        left = [tenant for index, tenant in enumerate(self.tenants) if index not in away]
        return place(self.topology, left, self.wish, self.room(away))


def _give_back(room: dict[int, int], topology: Topology, tenant: Tenant, size: int) -> None:
    """Huge pages in use, as far as is known where: evenly on the nodes that the VM's memory may be on."""
    used = {
        node: (pool.total - pool.free) * size
        for node in sorted(tenant.memory_nodes or topology.nodes)
        if node in topology.nodes and (pool := topology.nodes[node].pages.get(size)) and pool.total > pool.free
    }
    for node, most in used.items():
        room[node] = room.get(node, 0) + min(most, tenant.memory // len(used))


def counted(tenant: Tenant) -> CpuSet:
    """CPUs on which a VM counts: those of its vCPUs, and of helpers that were pinned by hand."""
    return tenant.pinned.union(*tenant.handmade)
