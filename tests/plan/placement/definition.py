"""The definitions of `kvmctl/plan/placement/cost.py`, once more: word by word, slow and plain.

Judges placements and finds none. Imports nothing from the planner but the types that it is spoken to in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvmctl.plan.placement.wish import Cost, Wish
from kvmctl.plan.topology import Tenant, Topology

Nodes = frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One question to the planner."""

    topology: Topology
    tenants: Sequence[Tenant]
    wish: Wish
    available: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Where the memory goes that does not fit on N: bytes by node, and what fits nowhere."""

    remote: int
    elsewhere: Mapping[int, int]
    overcommitted: int


class Definition:
    """What `cost.py` says, of one problem. What does not depend on the choice is worked out once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.topology, self.wish = problem.topology, problem.wish
        self.cpus = self.topology.cpus
        self.tenants = [one for one in problem.tenants if not one.pooled]
        self.pinned = [cpus for one in self.tenants for cpus in one.vcpus.values()]
        self.load = {number: self._load(number) for number in self.cpus}
        self.held = self._held()
        self.foreign = {
            cpu.core for cpu in self.cpus.values() if cpu.number in self.held or self._pinned_to(cpu.number)
        }
        self.neighbours = {cpu.cache for cpu in self.cpus.values() if self._pinned_to(cpu.number)}
        self.threads: dict[int, set[int]] = {}
        for cpu in self.cpus.values():
            if cpu.online:
                self.threads.setdefault(cpu.core, set()).add(cpu.number)
        self.usable = frozenset(number for number in self.cpus if self._usable(number))
        self._memory: dict[Nodes, Memory | None] = {}
        self._distance: dict[Nodes, int] = {}

    def _pinned_to(self, number: int) -> bool:
        return any(number in cpus for cpus in self.pinned)

    def _load(self, number: int) -> int:
        helpers = [
            cpus
            for one in self.tenants
            if not one.automatic
            for cpus in (one.emulator or frozenset(), *one.iothreads.values())
        ]
        return sum(number in cpus for cpus in self.pinned) + sum(number in cpus for cpus in helpers)

    def _held(self) -> set[int]:
        held: set[int] = set()
        for one in self.tenants:
            if one.exclusive:
                own = {number for cpus in one.vcpus.values() for number in cpus if number in self.cpus}
                held |= own
                if one.whole_cores:
                    cores = {self.cpus[number].core for number in own}
                    held |= {number for number, cpu in self.cpus.items() if cpu.core in cores}
        return held

    def _usable(self, number: int) -> bool:
        cpu, wish = self.cpus[number], self.wish
        if not cpu.online or number in self.held:
            return False
        if wish.cpus is not None and number not in wish.cpus:
            return False
        if wish.nodes is not None and cpu.node not in wish.nodes:
            return False
        if wish.exclusive and self.load[number]:
            return False
        if wish.exclusive and wish.threads == "own_core" and any(self.load[one] for one in self.threads[cpu.core]):
            return False
        keeps_away = wish.threads in ("own_core", "siblings") or wish.policy == "isolate"
        return not (keeps_away and cpu.core in self.foreign)

    def legal(self, chosen: frozenset[int]) -> bool:
        """As many usable CPUs as there are vCPUs, on cores as the wish wants them."""
        if len(chosen) != self.wish.vcpus or not chosen <= self.usable:
            return False
        by_core = Counter(self.cpus[number].core for number in chosen)
        if self.wish.threads == "own_core":
            return all(count == 1 for count in by_core.values())
        if self.wish.threads == "siblings":
            return sum(count < len(self.threads[core]) for core, count in by_core.items()) <= 1
        return True

    def nodes(self, chosen: Iterable[int]) -> Nodes:
        """N."""
        return frozenset(self.cpus[number].node for number in chosen)

    def from_near_to_far(self, nodes: Nodes) -> list[int]:
        """The other nodes, by their summed distance to N, then by number."""
        others = sorted(set(self.topology.nodes) - nodes)
        return sorted(others, key=lambda other: sum(self.topology.distance(other, one) for one in nodes))

    def memory(self, nodes: Nodes) -> Memory | None:
        """Where the memory goes if the vCPUs are on these nodes; None if it cannot be."""
        if nodes not in self._memory:
            self._memory[nodes] = self._remember(nodes)
        return self._memory[nodes]

    def _remember(self, nodes: Nodes) -> Memory | None:
        available, wish = self.problem.available, self.wish
        remote = rest = max(0, wish.memory - sum(available.get(one, 0) for one in nodes))
        elsewhere: dict[int, int] = {}
        for other in self.from_near_to_far(nodes) if rest else ():
            taken = min(rest, available.get(other, 0))
            if taken and (wish.nodes is None or other in wish.nodes):
                elsewhere[other] = taken
                rest -= taken
        if rest and (wish.strict or wish.page_size is not None):
            return None
        return Memory(remote=remote, elsewhere=elsewhere, overcommitted=rest)

    def distance(self, nodes: Nodes) -> int:
        """The criterion `distance`, of nodes for which the memory can be had."""
        if nodes not in self._distance:
            memory = self.memory(nodes)
            assert memory is not None
            pairs = [(one, other) for one in nodes for other in nodes if one < other]
            pairs += [(one, other) for one in nodes for other in memory.elsewhere]
            pairs += [(device, one) for device in self.wish.near for one in nodes]
            self._distance[nodes] = sum(self.topology.distance(one, other) for one, other in pairs)
        return self._distance[nodes]

    def helper_cpus(self, chosen: frozenset[int]) -> set[int]:
        """All helper CPUs of the host."""
        cores = {self.cpus[number].core for number in chosen}
        return {
            number
            for number, cpu in self.cpus.items()
            if cpu.online and not cpu.isolated and number not in self.held and cpu.core not in cores
        }

    def floats(self, chosen: frozenset[int]) -> set[int]:
        """What helpers float over: on N, or else on the nearest node with a helper CPU, or else on the chosen CPUs."""
        possible, nodes = self.helper_cpus(chosen), self.nodes(chosen)
        for place in (nodes, *({node} for node in self.from_near_to_far(nodes))):
            here = {number for number in possible if self.cpus[number].node in place}
            if here:
                return {number for number in here if not self.load[number]} or here
        return set(chosen)

    def left(self, chosen: frozenset[int]) -> set[int]:
        """The CPUs that are left for others, as `fragments` counts them."""
        alone = self.wish.exclusive and self.wish.threads == "own_core"
        cores = {self.cpus[number].core for number in chosen} if alone else set()
        return {
            number
            for number, cpu in self.cpus.items()
            if cpu.online
            and not self.load[number]
            and number not in self.held
            and number not in chosen
            and cpu.core not in cores
        }

    def cost(self, chosen: frozenset[int]) -> Cost | None:
        """What it costs to be on these CPUs; None if that is not allowed or not possible."""
        if not self.legal(chosen):
            return None
        nodes = self.nodes(chosen)
        memory = self.memory(nodes)
        if memory is None:
            return None
        caches = {self.cpus[number].cache for number in chosen}
        places = {number: cpu.node for number, cpu in self.cpus.items()}
        helpers, left = self.helper_cpus(chosen), self.left(chosen)
        if any(places[number] in nodes for number in helpers):
            away = 0
        else:
            away = 1 if helpers else 2
        return Cost(
            overcommit=sum(self.load[number] for number in chosen),
            remote_memory=memory.remote,
            distance=self.distance(nodes),
            neighbours=len(caches & self.neighbours) if self.wish.policy == "isolate" else 0,
            caches=self._caches(nodes, caches),
            cores=self._cores(chosen),
            helpers=self.wish.helpers * away,
            fragments=sum(self.cpus[number].cache in caches for number in left)
            + sum(places[number] in nodes for number in left),
        )

    def _caches(self, nodes: Nodes, caches: set[int]) -> int:
        if self.wish.policy != "spread":
            return len(caches)
        offered = {self.cpus[number].cache for number in self.usable if self.cpus[number].node in nodes}
        return len(offered) - len(caches)

    def _cores(self, chosen: frozenset[int]) -> int:
        if self.wish.threads == "own_core":
            return 0
        cores = {self.cpus[number].core for number in chosen}
        if self.wish.policy == "spread" and self.wish.threads == "share":
            return len(chosen) - len(cores) + len(cores & self.foreign)
        return sum(core in self.foreign or not self.threads[core] <= chosen for core in cores)


def cost_of(problem: Problem, chosen: Iterable[int]) -> Cost | None:
    """What these CPUs cost; None if the placement is not allowed."""
    return Definition(problem).cost(frozenset(chosen))
