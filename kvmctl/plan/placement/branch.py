"""Sets of nodes that vCPUs could be on, as branches of all of them, and the cost that none in a branch can beat.

A branch has nodes that are in its sets, nodes that are not, and nodes still open: the rest of a fixed order. Its bound
asks how little could be overcommitted and be remote, how many more nodes that takes at least, and how near so many
open nodes are at best.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import nsmallest
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.placement.ground import Ground

ANY = float("inf")
"""As a load: no CPU has more."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Sets with all nodes `inside` and none `outside`. `choices` says of each node decided, in order, if it is out."""

    inside: tuple[int, ...]
    outside: tuple[int, ...]
    choices: tuple[bool, ...]
    within: int
    """The distance between the nodes inside, and to the devices."""
    pull: tuple[int, ...]
    """What each node of the order, were it inside, would add to that."""

    @property
    def decided(self) -> int:
        return len(self.choices)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the sets of a branch overcommit and have remote at least, and how many more nodes those have that do."""

    overcommit: int
    remote: int
    least: int
    most: int
    memory: int
    """What does not fit on the nodes inside."""
    free: int
    """CPUs of other nodes that are needed, and the `worst` load that they may have."""
    worst: int


class Branches:
    """Makes branches, and says what they cost at least. `order` are the nodes that vCPUs can be on."""

    def __init__(self, ground: Ground, room: Mapping[int, int]) -> None:
        self.topology, self.wish, self.room = ground.topology, ground.wish, room
        self.loads = _loads(ground)
        nodes = {cpu.node for cpu in ground.topology.cpus.values()}
        self.order = sorted(
            nodes & self.loads.keys(), key=lambda node: (self.to_devices(node), -room.get(node, 0), node)
        )
        self.unusable = tuple(sorted(nodes - self.loads.keys()))
        self.most = _most(ground)
        distance = ground.topology.distance
        self._far = [tuple(distance(one, other) for other in self.order) for one in self.order]
        self._rooms = cache(self._rooms_from)
        self._free = cache(self._free_from)
        self._near = cache(self._near_from)

    def to_devices(self, node: int) -> int:
        return sum(self.topology.distance(device, node) for device in self.wish.near)

    def all(self) -> Branch:
        """Every set, but for those with a node that no vCPU can be on."""
        pull = tuple(map(self.to_devices, self.order))
        return Branch(inside=(), outside=self.unusable, choices=(), within=0, pull=pull)

    def taken(self, branch: Branch) -> Branch:
        """With the first open node."""
        place = branch.decided
        return Branch(
            inside=(*branch.inside, self.order[place]),
            outside=branch.outside,
            choices=(*branch.choices, False),
            within=branch.within + branch.pull[place],
            pull=tuple(one + other for one, other in zip(branch.pull, self._far[place], strict=True)),
        )

    def left(self, branch: Branch) -> Branch:
        """Without the first open node."""
        return Branch(
            inside=branch.inside,
            outside=(*branch.outside, self.order[branch.decided]),
            choices=(*branch.choices, True),
            within=branch.within,
            pull=branch.pull,
        )

    def need(self, branch: Branch) -> Need | None:
        """None if the vCPUs fit on none of its sets."""
        wish, first = self.wish, branch.decided
        more = wish.vcpus - len(branch.inside)
        most = min(self.most - len(branch.inside), len(self.order) - first)
        own = [self.loads[node] for node in branch.inside]
        if most < 0 or sum(map(len, own)) + self._free(first, ANY)[-1] < wish.vcpus:
            return None
        # Each node inside gives its best CPU; the rest are the best of all.
        overcommit, worst = sum(loads[0] for loads in own), 0
        if sum(_up_to(loads[1:], 0) for loads in own) + self._free(first, 0)[-1] < more:
            others = [loads[1:] for loads in own] + [self.loads[node] for node in self.order[first:]]
            lowest = nsmallest(more, (load for loads in others for load in loads))
            overcommit, worst = overcommit + sum(lowest), lowest[-1]
        free = wish.vcpus - sum(max(1, _up_to(loads, worst)) for loads in own)
        memory = wish.memory - sum(self.room.get(node, 0) for node in branch.inside)
        rooms = self._rooms(first)
        remote = max(0, memory - rooms[most])
        least = max(bisect_left(self._free(first, worst), free), bisect_left(rooms, memory - remote))
        return Need(
            overcommit=overcommit,
            remote=remote,
            least=min(least, most),
            most=most,
            memory=memory,
            free=free,
            worst=worst,
        )

    def distance(self, branch: Branch, need: Need, count: int) -> int:
        """The least distance with so many more nodes; with more of them it is no less."""
        lowest = nsmallest(count, self._prices(branch, count, range(branch.decided, len(self.order)))) if count else []
        return branch.within + -(-sum(lowest) // 2) + self._spilled(branch, need, count)

    def nearest(self, branch: Branch, need: Need, count: int) -> tuple[int, list[int]] | None:
        """The least distance with so many more nodes that have room for it all, and the nodes that such sets can have
        at this distance. None if so many cannot have room for it all.
        """
        if not count:
            return self.distance(branch, need, 0), []
        first = branch.decided
        fits = need.memory - need.remote - self._rooms(first)[count - 1]
        holds = need.free - self._free(first, need.worst)[count - 1]
        places = [
            place
            for place in range(first, len(self.order))
            if self.room.get(self.order[place], 0) >= fits
            and _up_to(self.loads[self.order[place]], need.worst) >= holds
        ]
        if len(places) < count:
            return None
        prices = self._prices(branch, count, places)
        lowest = nsmallest(count, prices)
        total = sum(lowest)
        least = -(-total // 2)
        highest = lowest[-1] + 2 * least - total
        near = [self.order[place] for place, price in zip(places, prices, strict=True) if price <= highest]
        return branch.within + least + self._spilled(branch, need, count), near

    def _prices(self, branch: Branch, count: int, places: Iterable[int]) -> list[int]:
        """What each of these open nodes, with so many in all, adds to the distance at least: twice that, since the
        distance between two of them is paid half by each.
        """
        first = branch.decided
        return [2 * branch.pull[place] + self._near(first, place)[count - 1] for place in places]

    def _spilled(self, branch: Branch, need: Need, count: int) -> int:
        """The least distance to memory elsewhere."""
        if not need.remote or self.wish.memory > sum(self.room.values()):
            return 0
        others = [node for node in self.room if self.room[node] > 0 and node not in branch.inside]
        rooms = _sums(sorted((self.room[node] for node in others), reverse=True))
        places = bisect_left(rooms, min(need.remote, rooms[-1]))
        return sum(nsmallest(places, (self._to_all(branch, node, count) for node in others)))

    def _to_all(self, branch: Branch, node: int, count: int) -> int:
        """The least distance of a node to all of a set, which has so many of the open nodes."""
        distance = self.topology.distance
        here = sum(distance(node, other) for other in branch.inside)
        return here + sum(
            nsmallest(count, (distance(node, other) for other in self.order[branch.decided :] if other != node))
        )

    def _rooms_from(self, first: int) -> Sequence[int]:
        """The most memory on one, two, … of the open nodes."""
        return _sums(sorted((self.room.get(node, 0) for node in self.order[first:]), reverse=True))

    def _free_from(self, first: int, worst: float) -> Sequence[int]:
        """The most CPUs with no more load on one, two, … of the open nodes."""
        return _sums(sorted((_up_to(self.loads[node], worst) for node in self.order[first:]), reverse=True))

    def _near_from(self, first: int, place: int) -> Sequence[int]:
        """The distance of an open node to its nearest one, two, … others that are open."""
        return _sums(sorted(far for other, far in enumerate(self._far[place]) if other >= first and other != place))


def _sums(numbers: Sequence[int]) -> Sequence[int]:
    return tuple(accumulate(numbers, initial=0))


def _up_to(loads: Sequence[int], worst: float) -> int:
    """How many of them, which are in order, are no more than that."""
    return bisect_right(loads, worst)


def _loads(ground: Ground) -> dict[int, list[int]]:
    """The loads of the CPUs that can be chosen at the same time, least first: with own_core, one of each core."""
    cpus = ground.topology.cpus
    found: dict[int, list[int]] = {}
    least: dict[int, int] = {}
    for number in ground.usable:
        load, cpu = ground.load[number], cpus[number]
        if ground.wish.threads != "own_core":
            found.setdefault(cpu.node, []).append(load)
        elif load < least.get(cpu.core, load + 1):
            least[cpu.core] = load
    for core, load in least.items():
        found.setdefault(cpus[ground.topology.cores[core][0]].node, []).append(load)
    return {node: sorted(loads) for node, loads in found.items()}


def _most(ground: Ground) -> int:
    """How many nodes vCPUs can be on: with siblings, all but one of them have a whole core at least."""
    wish, topology = ground.wish, ground.topology
    if wish.threads != "siblings":
        return wish.vcpus
    fewest = min((len(topology.cores[topology.cpus[number].core]) for number in ground.usable), default=1)
    return 1 + (wish.vcpus - 1) // fewest
