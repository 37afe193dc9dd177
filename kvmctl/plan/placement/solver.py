"""Finds the placement that no other beats, and proves it: branch and bound over the sets of nodes that vCPUs are on.

The branch with the least bound (see `branch.py` and `floor.py`) is always opened next, so that the first complete set
whose exact cost (see `filling.py`) is no more than every bound left is the best. Of sets that cost the same it is the
first: with the node nearest to the devices, of those with the most memory, of those with the lowest number. What was
opened and what was not is the certificate.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kvmctl.plan.placement.alike import twins
from kvmctl.plan.placement.branch import Branch, Branches, Need
from kvmctl.plan.placement.filling import Filling
from kvmctl.plan.placement.floor import Floor
from kvmctl.plan.placement.ground import Ground, helper_cpus
from kvmctl.plan.placement.memory import share, spill
from kvmctl.plan.placement.sums import BITS, unpacked
from kvmctl.plan.placement.wish import Case, Certificate, Cost, Placement

if TYPE_CHECKING:
    from kvmctl.plan.placement.wish import Wish
    from kvmctl.plan.topology import Tenant, Topology

ANY = (1 << BITS) - 1
"""So much overcommitted is all that may be."""
LIMIT = 5000
"""So many steps, and the best that is known is the answer, with a bound that says how much better there may be."""
FEW = 3
"""So many open nodes are sooner tried out than bounded from below."""


def place(topology: Topology, tenants: Sequence[Tenant], wish: Wish, available: Mapping[int, int]) -> Placement | None:
    """The best placement of a VM beside others; None if it fits nowhere. `available` is bytes by node."""
    ground = Ground(topology=topology, tenants=tenants, wish=wish)
    return _Search(ground, available).run()


@dataclass(frozen=True, kw_only=True, order=True)
class _Entry:
    """A branch in the queue, and how far it was looked at: bounded with care, or its only set worked out."""

    bound: Cost
    choices: tuple[bool, ...]
    branch: Branch = field(compare=False)
    need: Need = field(compare=False)
    careful: bool = field(default=False, compare=False)
    solved: bool = field(default=False, compare=False)


class _Search:
    def __init__(self, ground: Ground, available: Mapping[int, int]) -> None:
        self.ground = ground
        wish, topology = ground.wish, ground.topology
        allowed = wish.nodes if wish.nodes is not None else topology.nodes.keys()
        self.room = {node: size for node, size in available.items() if node in allowed}
        self.filling = Filling(ground)
        self.branches = Branches(ground, self.room)
        self.twins = twins(topology, wish, self.room, self.filling.look)
        self.floors: dict[int, Floor] = {}
        self.closed: list[Case] = []
        """What the wish does not fit on."""
        self.mirrored: list[Branch] = []
        self.heap: list[_Entry] = []

    def _floor(self, overcommit: int) -> Floor:
        if overcommit not in self.floors:
            self.floors[overcommit] = Floor(self.filling, self.branches.order, overcommit)
        return self.floors[overcommit]

    def run(self) -> Placement | None:
        wish = self.ground.wish
        rigid = wish.strict or wish.page_size is not None
        if wish.vcpus < 1 or (rigid and sum(self.room.values()) < wish.memory):
            return None
        for place, node in enumerate(self.branches.unusable):
            self.closed.append(_case({node}, self.branches.unusable[:place], None))
        self._add(self.branches.all(), Cost())
        for _ in range(LIMIT):
            if not self.heap:
                return None
            entry = heapq.heappop(self.heap)
            if entry.solved:
                return self._placement(entry)
            self._open(entry)
        return self._enough()

    def _enough(self) -> Placement | None:
        """The best set that was worked out; if none was, one found by going down from where most is promised."""
        waiting = self.heap
        while waiting and not any(entry.solved for entry in waiting):
            self.heap = [heapq.heappop(waiting)]
            while self.heap and not any(entry.solved for entry in self.heap):
                entry = min(self.heap, key=lambda entry: (-entry.branch.decided, entry))
                self.heap.remove(entry)
                self._open(entry)
            waiting += self.heap
            heapq.heapify(waiting)
        best = min((entry for entry in waiting if entry.solved), default=None)
        self.heap = [entry for entry in waiting if entry is not best]
        return self._placement(best) if best else None

    def _add(self, branch: Branch, least: Cost) -> None:
        if not branch.inside and branch.decided == len(self.branches.order):
            return  # the set of no nodes is no case
        need = self.branches.need(branch)
        if need is None:
            self._close(branch)
            return
        distance = self.branches.distance(branch, need, need.least)
        bound = Cost(overcommit=need.overcommit, remote_memory=need.remote, distance=distance)
        self._push(_Entry(bound=max(bound, least), choices=branch.choices, branch=branch, need=need))

    def _open(self, entry: _Entry) -> None:
        branch = entry.branch
        undecided = len(self.branches.order) - branch.decided
        if not undecided:
            self._solve(entry)
        elif undecided > FEW and not entry.careful:
            self._bound(entry)
        else:
            node = self.branches.order[branch.decided]
            taken = self.branches.taken(branch)
            if self.twins.get(node) in branch.outside:
                self.mirrored.append(taken)
            else:
                self._add(taken, entry.bound)
            self._add(self.branches.left(branch), entry.bound)

    def _push(self, entry: _Entry) -> None:
        heapq.heappush(self.heap, entry)

    def _close(self, branch: Branch) -> None:
        self.closed.append(_case(branch.inside, branch.outside, None))

    def _bound(self, entry: _Entry) -> None:
        """Looks at a branch again, now at what filling costs at least."""
        wish, branch, need = self.ground.wish, entry.branch, entry.need
        best: Cost | None = None
        for count in range(need.least, need.most + 1):
            if best and self.branches.distance(branch, need, count) > best.distance:
                break
            bound = self._with(branch, need, count)
            if bound and (best is None or bound < best):
                best = bound
        if best is None:
            # None of its sets overcommits so little and has so little remote.
            rest = self.branches.order[branch.decided :]
            if wish.threads == "siblings" and not self._floor(ANY).fits(branch.inside, rest):
                self._close(branch)
                return
            best = Cost(overcommit=need.overcommit, remote_memory=need.remote + 1, distance=branch.within)
        self._push(replace(entry, bound=max(best, entry.bound), careful=True))

    def _with(self, branch: Branch, need: Need, count: int) -> Cost | None:
        """What the sets with so many open nodes cost at least that overcommit and have remote as little as possible."""
        nearest = self.branches.nearest(branch, need, count)
        if nearest is None:
            return None
        distance, nodes = nearest
        found = [Cost(overcommit=need.overcommit, remote_memory=need.remote, distance=distance + 1)]
        for spare, total in self._floor(need.overcommit).least(branch.inside, nodes, count).items():
            helpers = 0 if spare else self.ground.wish.helpers
            found.append(Cost(remote_memory=need.remote, distance=distance, helpers=helpers, **unpacked(total)))
        return min(found)

    def _solve(self, entry: _Entry) -> None:
        """The exact cost of one set of nodes."""
        nodes = frozenset(entry.branch.inside)
        totals: Iterable[tuple[bool, int]] = ()
        if self.filling.separate and len(self.branches.order) > FEW:
            totals = self._floor(entry.need.overcommit).least(nodes, (), 0).items()
        totals = totals or ((filled.spare, filled.total) for filled in self.filling.fill(nodes))
        costs = [self._cost(entry.branch, spare, total) for spare, total in totals]
        if costs:
            self._push(replace(entry, bound=min(costs), solved=True))
        else:
            self._close(entry.branch)

    def _cost(self, branch: Branch, spare: bool, total: int) -> Cost:
        """What a filling of the nodes inside costs."""
        topology, wish = self.ground.topology, self.ground.wish
        over = spill(topology, branch.inside, wish.memory, self.room)
        spilled = sum(topology.distance(one, other) for one in over.nodes for other in branch.inside)
        elsewhere = any(topology.cpus[number].node not in branch.inside for number in self.ground.helping)
        return Cost(
            remote_memory=over.remote,
            distance=branch.within + spilled,
            helpers=wish.helpers * (0 if spare else 1 if elsewhere else 2),
            **unpacked(total),
        )

    def _placement(self, best: _Entry) -> Placement:
        ground, wish = self.ground, self.ground.wish
        fillings = self.filling.fill(frozenset(best.branch.inside))
        filled = min(fillings, key=lambda filled: self._cost(best.branch, filled.spare, filled.total))
        cpus = ground.topology.cpus
        chosen = self.filling.chosen(filled.link)
        nodes = {cpus[number].node for number in chosen}
        over = spill(ground.topology, nodes, wish.memory, self.room)
        cases = [_case(entry.branch.inside, entry.branch.outside, entry.bound) for entry in (best, *self.heap)]
        # A mirror image costs what the sets cost that were looked at: no less than any of them.
        least = min(entry.bound for entry in (best, *self.heap))
        cases += [_case(branch.inside, branch.outside, least) for branch in self.mirrored]

        def beside(number: int) -> tuple[int, int, int, int]:
            """Threads of a core, cores of a cache and caches of a node get vCPUs that follow each other."""
            cpu = cpus[number]
            return cpu.node, cpu.cache, ground.topology.cores[cpu.core][0], number

        return Placement(
            vcpus=tuple(sorted(chosen, key=beside)),
            helpers=helper_cpus(ground, chosen),
            memory=share(nodes, over.nodes, wish.memory, self.room),
            cost=best.bound,
            certificate=Certificate(cases=(*self.closed, *cases)),
        )


def _case(inside: Collection[int], outside: Collection[int], bound: Cost | None) -> Case:
    return Case(inside=frozenset(inside), outside=frozenset(outside), bound=bound)
