"""The CPUs of a host as one wish sees them: which are usable, who else is on them. The definitions are in `cost.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.placement.wish import Wish
    from kvmctl.plan.topology import Tenant, Topology


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What stands on every CPU, and what is left for the wish. All sets are of CPU numbers, or cores where said."""

    topology: Topology
    tenants: Sequence[Tenant]
    wish: Wish

    @cached_property
    def vcpu_load(self) -> Counter[int]:
        """How many vCPUs of others are pinned to sets with the CPU in them."""
        found: Counter[int] = Counter()
        for tenant in self.tenants:
            if not tenant.pooled:
                for cpus in tenant.vcpus.values():
                    found.update(cpus)
        return found

    @cached_property
    def load(self) -> Counter[int]:
        """The same, with helpers that were pinned by hand."""
        found = Counter(self.vcpu_load)
        for tenant in self.tenants:
            for cpus in tenant.handmade:
                found.update(cpus)
        return found

    @cached_property
    def held(self) -> frozenset[int]:
        """CPUs that belong to exclusive VMs."""
        return held_by(self.topology, self.tenants)

    @cached_property
    def foreign(self) -> frozenset[int]:
        """Cores on which another VM has a vCPU."""
        cpus = self.topology.cpus
        return frozenset(cpus[number].core for number in self.vcpu_load if number in cpus)

    @cached_property
    def usable(self) -> frozenset[int]:
        """CPUs that the wish may have."""
        wish, topology = self.wish, self.topology
        found = topology.online - self.held
        if wish.cpus is not None:
            found &= wish.cpus
        whole = wish.threads != "share" or wish.policy == "isolate"
        return frozenset(number for number in found if self._fits(number, whole))

    def _fits(self, number: int, whole: bool) -> bool:
        wish, cpu = self.wish, self.topology.cpus[number]
        if wish.nodes is not None and cpu.node not in wish.nodes:
            return False
        if whole and cpu.core in self.foreign:
            return False
        if not wish.exclusive:
            return True
        threads = self.topology.cores[cpu.core] if wish.threads == "own_core" else (number,)
        return not any(self.load[thread] for thread in threads)

    @cached_property
    def free(self) -> frozenset[int]:
        """CPUs on which nobody is."""
        return frozenset(number for number in self.topology.online - self.held if not self.load[number])

    @cached_property
    def helping(self) -> frozenset[int]:
        """CPUs on which helpers may float, before this wish takes its cores."""
        return frozenset(
            number for number in self.topology.online - self.held if not self.topology.cpus[number].isolated
        )

    @cached_property
    def neighbours(self) -> frozenset[int]:
        """L3 groups in which another VM has a vCPU."""
        cpus = self.topology.cpus
        return frozenset(cpus[number].cache for number in self.vcpu_load if number in cpus)

    @property
    def blocks(self) -> bool:
        """Whether the wish takes whole cores, with threads that nobody runs on."""
        return self.wish.exclusive and self.wish.threads == "own_core"


def held_by(topology: Topology, tenants: Sequence[Tenant]) -> frozenset[int]:
    """CPUs that belong to the exclusive ones of these VMs."""
    found: set[int] = set()
    for tenant in tenants:
        if tenant.exclusive:
            found |= tenant.pinned
            if tenant.whole_cores:
                for number in tenant.pinned & topology.cpus.keys():
                    found.update(topology.cores.get(topology.cpus[number].core, ()))
    return frozenset(found)


def helper_cpus(ground: Ground, chosen: frozenset[int]) -> frozenset[int]:
    """Where helpers float: see `cost.py`."""
    cpus = ground.topology.cpus
    cores = {cpus[number].core for number in chosen}
    nodes = {cpus[number].node for number in chosen}
    found = frozenset(number for number in ground.helping if cpus[number].core not in cores)

    def how_far(number: int) -> tuple[int, int]:
        node = cpus[number].node
        away = 0 if node in nodes else 1 + sum(ground.topology.distance(node, other) for other in nodes)
        return away, node if away else -1

    nearest = min(map(how_far, found), default=None)
    near = frozenset(number for number in found if how_far(number) == nearest)
    return near & ground.free or near or chosen
