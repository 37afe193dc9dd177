"""The least cost of hosts too large for trying everything, by dynamic programming over cores, L3 groups and nodes.

For one set of nodes N, memory and distance are fixed, and the other criteria are sums over cores and L3 groups, but for
the helpers, which only ask whether a CPU is left. So it is enough to know, for each number of CPUs that could be chosen
among the cores seen so far, the least sum. Sums are kept as one integer, a field of bits for each criterion: adding
adds all fields, comparing compares the first that differs. Not clever about bounds, and slow; knows no planner.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

from kvmctl.plan.placement.wish import Cost
from tests.plan.placement.definition import Definition, Nodes

FIELDS = ("overcommit", "neighbours", "caches", "cores", "fragments")
BITS = 24
UNIT = {name: 1 << BITS * (len(FIELDS) - place - 1) for place, name in enumerate(FIELDS)}


class State(NamedTuple):
    """What must be remembered of the cores seen so far."""

    chosen: int
    nodes: Nodes
    partial: int
    """`siblings`: cores half used, at most one."""
    spare: bool
    """A helper CPU is left on N."""


NOTHING = State(0, frozenset(), 0, False)
Table = dict[State, int]


class Exact:
    """The least cost on any set of nodes, of one problem."""

    def __init__(self, definition: Definition) -> None:
        self.definition, self.wish, self.cpus = definition, definition.wish, definition.cpus
        nobody = frozenset[int]()
        self.spare, self.left = definition.helper_cpus(nobody), definition.left(nobody)
        self.loads: dict[int, list[int]] = {}
        """Of the usable CPUs of each node."""
        for number in definition.usable:
            self.loads.setdefault(self.cpus[number].node, []).append(definition.load[number])
        self.cores: dict[int, list[int]] = {}
        """The cores of each L3 group."""
        for core, threads in sorted(definition.threads.items()):
            self.cores.setdefault(self.cpus[min(threads)].cache, []).append(core)
        self._options = {core: self._core(core) for core in definition.threads}
        self._parts: dict[Nodes, Table] = {}
        self._sums: dict[tuple[Nodes, ...], Table] = {}

    def _node(self, core: int) -> int:
        return self.cpus[min(self.definition.threads[core])].node

    def _core(self, core: int) -> Table:
        """All that can be done with one core of an L3 group in use, the least for each state."""
        wish, definition = self.wish, self.definition
        threads = definition.threads[core]
        usable = sorted(threads & definition.usable)
        table: Table = {}
        for count in range(min(len(usable), 1 if wish.threads == "own_core" else len(usable)) + 1):
            for choice in combinations(usable, count):
                used, partial = bool(choice), 0 < count < len(threads)
                left = (threads & self.left) - set(choice)
                if used and wish.exclusive and wish.threads == "own_core":
                    left = set()
                if wish.threads == "own_core":
                    cores = 0
                elif wish.policy == "spread" and wish.threads == "share":
                    cores = count - 1 + (core in definition.foreign) if used else 0
                else:
                    cores = int(used and (partial or core in definition.foreign))
                value = sum(definition.load[number] for number in choice) * UNIT["overcommit"]
                value += cores * UNIT["cores"] + 2 * len(left) * UNIT["fragments"]
                state = State(
                    chosen=count,
                    nodes=frozenset({self._node(core)} if used else ()),
                    partial=int(partial and wish.threads == "siblings"),
                    spare=not used and bool(threads & self.spare),
                )
                table[state] = min(table.get(state, value), value)
        return table

    def _add(self, one: Table, other: Table) -> Table:
        """Both together, without what cannot become a placement."""
        table: Table = {}
        for (count, nodes, partial, spare), value in one.items():
            for (more, further, odd, also), added in other.items():
                if count + more <= self.wish.vcpus and partial + odd <= 1:
                    state = State(count + more, nodes | further, partial + odd, spare or also)
                    if value + added < table.get(state, value + added + 1):
                        table[state] = value + added
        return table

    def _cache(self, cache: int, nodes: Nodes) -> Table:
        """One L3 group, as far as its cores are on these nodes."""
        inside = [core for core in self.cores[cache] if self._node(core) in nodes]
        outside = [core for core in self.cores[cache] if self._node(core) not in nodes]
        threads = [number for core in inside for number in self.definition.threads[core]]
        table: Table = {NOTHING: 0}
        for core in inside:
            table = self._add(table, self._options[core])
        spread = self.wish.policy == "spread"
        entry = 0 if spread else UNIT["caches"]
        if self.wish.policy == "isolate" and cache in self.definition.neighbours:
            entry += UNIT["neighbours"]
        entry += UNIT["fragments"] * sum(len(self.definition.threads[core] & self.left) for core in outside)
        table = {state: value + entry for state, value in table.items() if state.chosen}
        unused = UNIT["caches"] if spread and any(number in self.definition.usable for number in threads) else 0
        unused += UNIT["fragments"] * sum(number in self.left for number in threads)
        table[NOTHING._replace(spare=any(number in self.spare for number in threads))] = unused
        return table

    def _part(self, nodes: Nodes) -> Table:
        """Nodes that share L3 groups with each other and no others of N: all of them must be used."""
        if nodes not in self._parts:
            homes = {cache: {self._node(core) for core in cores} & nodes for cache, cores in self.cores.items()}
            caches = sorted((cache for cache in self.cores if homes[cache]), key=lambda cache: sorted(homes[cache]))
            table: Table = {NOTHING: 0}
            for place, cache in enumerate(caches):
                table = self._add(table, self._cache(cache, nodes))
                later = frozenset().union(*(homes[one] for one in caches[place + 1 :]))
                table = {state: value for state, value in table.items() if nodes <= state.nodes | later}
            self._parts[nodes] = {state: value for state, value in table.items() if state.nodes == nodes}
        return self._parts[nodes]

    def _split(self, nodes: Nodes) -> tuple[Nodes, ...]:
        """N in parts that share no L3 group."""
        parts = [frozenset({node}) for node in sorted(nodes)]
        for cores in self.cores.values():
            homes = {self._node(core) for core in cores} & nodes
            if len(homes) > 1:
                joined = frozenset().union(*(part for part in parts if part & homes))
                parts = [part for part in parts if not part & homes] + [joined]
        return tuple(sorted(parts, key=sorted))

    def _sum(self, parts: tuple[Nodes, ...]) -> Table:
        if not parts:
            return {NOTHING: 0}
        if parts not in self._sums:
            self._sums[parts] = self._add(self._sum(parts[:-1]), self._part(parts[-1]))
        return self._sums[parts]

    def best(self, nodes: Nodes) -> Cost | None:
        """The least cost of all placements whose vCPUs are on exactly these nodes."""
        memory = self.definition.memory(nodes)
        if memory is None:
            return None
        elsewhere = any(self.cpus[number].node not in nodes for number in self.spare)
        costs = []
        for state, value in self._sum(self._split(nodes)).items():
            if state.chosen == self.wish.vcpus:
                found = {name: value // unit % (1 << BITS) for name, unit in UNIT.items()}
                away = 0 if state.spare else 1 if elsewhere else 2
                fixed = {"remote_memory": memory.remote, "distance": self.definition.distance(nodes)}
                costs.append(Cost(**found, **fixed, helpers=self.wish.helpers * away))
        return min(costs, default=None)

    def floor(self, nodes: Nodes) -> Cost | None:
        """Quickly: no placement on exactly these nodes costs less; None if there is none for certain."""
        if not nodes <= self.loads.keys():
            return None  # a node that no vCPU could be on
        loads = sorted(load for node in nodes for load in self.loads[node])[: self.wish.vcpus]
        memory = self.definition.memory(nodes)
        if memory is None or len(loads) < self.wish.vcpus:
            return None
        return Cost(overcommit=sum(loads), remote_memory=memory.remote, distance=self.definition.distance(nodes))
