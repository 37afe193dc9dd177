"""The best way to fill a given set of nodes: dynamic programming over classes of like cores, L3 groups, and nodes.

Once the nodes are chosen, all that `cost.py` counts is a sum over cores and L3 groups, except the price of helpers,
which hangs on whether a helper CPU is left. So a state is (vCPUs placed, nodes reached, a core is split, a helper CPU
is left), and the least sum for each state is kept. Sums are compared in the order of the criteria, and adding the same
to both sides does not change that order, so nothing that is dropped here could have become the best. Cores that cannot
be told apart are one class: only how many of them are used, and how, is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmctl.plan.placement.sums import WEIGHT
from kvmctl.plan.placement.ways import ways

if TYPE_CHECKING:
    from kvmctl.plan.placement.ground import Ground

State = tuple[int, int, bool, bool]
"""vCPUs placed, mask of the nodes reached, whether a core is split (siblings only), whether a helper CPU is left."""
Part = tuple[int, bool, bool]
"""The same of what uses all of its nodes."""
Link = Any
"""How a state came about: None, a pair of links, or a leaf; leaves of a group are made concrete by a `_Group`."""
Table = dict[State, tuple[int, Link]]
START: Table = {(0, 0, False, False): (0, None)}


class Kind(NamedTuple):
    """What makes cores alike: the loads of the usable threads (least first), all online threads, who else is there."""

    loads: tuple[int, ...]
    online: int
    foreign: bool
    helping: bool
    free: int


class _Leaf(NamedTuple):
    """Of one class of cores, how many are used with one thread, with two, and so on."""

    place: int
    counts: tuple[int, ...]


class _Group(NamedTuple):
    """How one L3 group is used: the cores of each of its classes, and the links whose leaves point to them."""

    classes: tuple[tuple[int, ...], ...]
    link: Link


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A best filling of a set of nodes. For `total` see `sums.py`; `spare` tells whether a helper CPU is left."""

    link: Link
    total: int
    spare: bool


class Filling:
    """Fills sets of nodes for one wish; what was worked out for one L3 group serves all that look like it."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._known: dict[Any, Table] = {}
        self._wholes: dict[tuple[tuple[int, ...], bool], Table] = {}
        cpus = ground.topology.cpus
        self._left_of_cache: dict[int, int] = {}
        self._left_of_node: dict[int, int] = {}
        for number in ground.free:
            cpu = cpus[number]
            self._left_of_cache[cpu.cache] = self._left_of_cache.get(cpu.cache, 0) + 1
            self._left_of_node[cpu.node] = self._left_of_node.get(cpu.node, 0) + 1
        self._cores: dict[tuple[int, int], dict[Kind, list[int]]] = {}
        """By L3 group and node, the cores with a usable thread, by kind."""
        self._idle: set[int] = set()
        """Nodes with a core that no vCPU can have, but a helper can."""
        for core, threads in ground.topology.cores.items():
            first = cpus[threads[0]]
            kind = self._kind(core, threads)
            if kind.loads:
                self._cores.setdefault((first.cache, first.node), {}).setdefault(kind, []).append(core)
            elif kind.helping:
                self._idle.add(first.node)
        homes = Counter(cache for cache, _ in self._cores)
        self._shared = {cache: count for cache, count in homes.items() if count > 1}
        """L3 groups that vCPUs can share from several nodes: from how many."""

    def _kind(self, core: int, threads: tuple[int, ...]) -> Kind:
        ground = self.ground
        return Kind(
            loads=tuple(sorted(ground.load[number] for number in threads if number in ground.usable)),
            online=len(threads),
            foreign=core in ground.foreign,
            helping=any(number in ground.helping for number in threads),
            free=sum(number in ground.free for number in threads),
        )

    def fill(self, nodes: frozenset[int]) -> Iterator[Filled]:
        """The best fillings that use all of the nodes and no other: one with a helper CPU left, and one without."""
        wish = self.ground.wish
        cells = [cell for cell in self._cores if cell[1] in nodes]
        helping = sum(len(cores) for cell in cells for kind, cores in self._cores[cell].items() if kind.helping)
        certain = helping > wish.vcpus or not self._idle.isdisjoint(nodes)
        tables = []
        for component, caches in self._components(nodes, cells):
            known = self._wholes.get((component, certain))
            if known is None:
                groups = (self._group(cache, component, certain=certain) for cache in caches)
                known = self._wholes[component, certain] = self._whole(component, groups)
            tables.append(known)
        room = [max((state[0] for state in table), default=0) for table in tables]
        total = START
        for place, table in enumerate(tables, 1):
            total = self._join(total, table, low=wish.vcpus - sum(room[place:]))
        base = sum(self._left_of_node.get(node, 0) for node in nodes) * WEIGHT["fragments"]
        for (vcpus, _, _, spare), (cost, link) in total.items():
            if vcpus == wish.vcpus:
                yield Filled(link=link, total=cost + base, spare=certain or spare)

    def _whole(self, component: tuple[int, ...], groups: Iterable[Table]) -> Table:
        """All groups of a component together, as far as each of its nodes is used."""
        table = START
        for group in groups:
            table = self._join(table, group)
        kept: Table = {}
        for (vcpus, reached, split, spare), found in table.items():
            if reached == (1 << len(component)) - 1:
                _keep(kept, (vcpus, 0, split, spare), *found)
        return kept

    def alone(self, node: int) -> dict[Part, int]:
        """What a node adds to the sum of any filling that uses it, or less: the price of an L3 group that several nodes
        share is split between them.
        """
        certain = node in self._idle

        def group(cache: int) -> Table:
            table, used = self._group(cache, (node,), certain=certain), self._entry(cache)
            if cache not in self._shared:
                return table
            less = used - used // self._shared[cache]
            return {state: (cost - less if state[0] else 0, link) for state, (cost, link) in table.items()}

        caches = sorted(cache for cache, home in self._cores if home == node)
        base = self._left_of_node.get(node, 0) * WEIGHT["fragments"]
        table = self._whole((node,), map(group, caches))
        return {(vcpus, split, certain or spare): cost + base for (vcpus, _, split, spare), (cost, _) in table.items()}

    @property
    def separate(self) -> bool:
        """Whether no nodes share an L3 group: then `alone` is what a node adds, and no less."""
        return not self._shared

    def look(self, node: int) -> Hashable:
        """Nodes of equal look can be swapped: what a filling costs stays the same."""
        cells = []
        for (cache, home), kinds in self._cores.items():
            if home == node:
                own = cache if cache in self._shared else -1
                cells.append((own, self._entry(cache), sorted((kind, len(cores)) for kind, cores in kinds.items())))
        return repr(sorted(cells)), node in self._idle, self._left_of_node.get(node, 0)

    def _components(
        self, nodes: frozenset[int], cells: list[tuple[int, int]]
    ) -> Iterator[tuple[tuple[int, ...], list[int]]]:
        """Nodes that share L3 groups, with the groups of each such component."""
        left = set(nodes)
        while left:
            component, caches = {min(left)}, set[int]()
            wider = component
            while wider:
                component = component | wider
                caches = {cache for cache, node in cells if node in component}
                wider = {node for cache, node in cells if cache in caches} - component
            left -= component
            yield tuple(sorted(component)), sorted(caches)

    def _group(self, cache: int, component: tuple[int, ...], *, certain: bool) -> Table:
        """Every useful way to use one L3 group on the nodes of a component."""
        kinds, classes = [], []
        for place, node in enumerate(component):
            for kind, cores in sorted(self._cores.get((cache, node), {}).items()):
                kinds.append((kind, place, len(cores)))
                classes.append(tuple(sorted(cores)))
        used = self._entry(cache)
        looks = (tuple(kinds), used, certain)
        if looks not in self._known:
            table = START
            for index, (kind, place, count) in enumerate(kinds):
                table = self._join(table, self._class(kind, place, count, index, certain=certain))
            unused = (self.ground.wish.policy == "spread") * WEIGHT["caches"]
            self._known[looks] = {
                state: (cost + (used if state[0] else unused), link) for state, (cost, link) in table.items()
            }
        own = tuple(classes)
        return {state: (cost, _Group(own, link)) for state, (cost, link) in self._known[looks].items()}

    def _entry(self, cache: int) -> int:
        """What the use of an L3 group costs, before any of its CPUs is taken."""
        policy = self.ground.wish.policy
        neighbour = policy == "isolate" and cache in self.ground.neighbours
        left = self._left_of_cache.get(cache, 0) * WEIGHT["fragments"]
        return left + neighbour * WEIGHT["neighbours"] + (policy != "spread") * WEIGHT["caches"]

    def _class(self, kind: Kind, place: int, count: int, index: int, *, certain: bool) -> Table:
        """Every useful way to use cores of one kind."""
        wish = self.ground.wish
        most = 1 if wish.threads == "own_core" else len(kind.loads)
        costs = [0] + [self._price(kind, used) for used in range(1, most + 1)]
        siblings = wish.threads == "siblings"
        table: Table = {}
        for counts in ways(count, most, wish.vcpus):
            vcpus = sum(used * cores for used, cores in enumerate(counts, 1))
            splits = sum(counts[used - 1] for used in range(1, most + 1) if used < kind.online) if siblings else 0
            if splits > 1:
                continue
            cost = sum(costs[used] * cores for used, cores in enumerate(counts, 1))
            spare = not certain and kind.helping and sum(counts) < count
            state = (vcpus, (1 << place) if vcpus else 0, bool(splits), spare)
            _keep(table, state, cost, _Leaf(index, counts) if vcpus else None)
        return table

    def _price(self, kind: Kind, used: int) -> int:
        """What one core of a kind costs with so many of its threads used."""
        wish = self.ground.wish
        taken = kind.loads[:used]
        consumed = kind.free if self.ground.blocks else taken.count(0)
        if wish.threads == "own_core":
            cores = 0
        elif wish.policy == "spread" and wish.threads == "share":
            cores = used - 1 + kind.foreign
        else:
            cores = int(kind.foreign or used < kind.online)
        # What is taken is left neither in the L3 group nor in the node.
        return sum(taken) * WEIGHT["overcommit"] + cores * WEIGHT["cores"] - 2 * consumed * WEIGHT["fragments"]

    def _join(self, one: Table, other: Table, *, low: int = 0) -> Table:
        """Both together, if these are as many vCPUs as `low`: with fewer, the rest would not fit on what follows."""
        wanted = self.ground.wish.vcpus
        joined: Table = {}
        for (vcpus, reached, split, spare), (cost, link) in one.items():
            for (more, further, again, also), (price, piece) in other.items():
                if low <= vcpus + more <= wanted and not (split and again):
                    state = (vcpus + more, reached | further, split or again, spare or also)
                    total = cost + price
                    known = joined.get(state)
                    if known is None or total < known[0]:
                        joined[state] = (total, (link, piece))
        return joined

    def chosen(self, link: Link) -> frozenset[int]:
        """The CPUs of a filling: of like cores the lowest, of a core's threads the least loaded."""
        found: set[int] = set()
        for group in _groups(link):
            left = [list(cores) for cores in group.classes]
            for leaf in _leaves(group.link):
                for used in range(len(leaf.counts), 0, -1):
                    for _ in range(leaf.counts[used - 1]):
                        found.update(self._threads(left[leaf.place].pop(0))[:used])
        return frozenset(found)

    def _threads(self, core: int) -> list[int]:
        ground = self.ground
        threads = [number for number in ground.topology.cores[core] if number in ground.usable]
        return sorted(threads, key=lambda number: (ground.load[number], number))


def _keep(table: Table, state: State, cost: int, link: Link) -> None:
    if state not in table or cost < table[state][0]:
        table[state] = (cost, link)


def _groups(link: Link) -> Iterator[_Group]:
    if isinstance(link, _Group):
        yield link
    elif link is not None:
        for part in link:
            yield from _groups(part)


def _leaves(link: Link) -> Iterator[_Leaf]:
    if isinstance(link, _Leaf):
        yield link
    elif link is not None:
        for part in link:
            yield from _leaves(part)
