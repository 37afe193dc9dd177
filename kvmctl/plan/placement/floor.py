"""What filling some of many nodes costs at least, without trying each set of them.

All that adds up over nodes is kept in tables, one for each number of nodes of certain kinds, so that no set is looked
at on its own. Where nodes share an L3 group, its price is split between them, which is never more than it really costs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from kvmctl.plan.placement.sums import WEIGHT

if TYPE_CHECKING:
    from kvmctl.plan.placement.filling import Filling, Part

Kinds = tuple[int, ...]


class Row(NamedTuple):
    """The least sums for so many vCPUs, one more, and so on; what is not possible has a sum that is too much."""

    first: int
    sums: list[int]


Left = tuple[bool, bool]
"""Whether a core is split, and whether a helper CPU is left."""
Table = Mapping[Left, Row]
NOTHING: Table = {(False, False): Row(0, [0])}
BETTER: Mapping[Left, frozenset[Left]] = {
    (False, True): frozenset(),
    (True, True): frozenset({(False, True)}),
    (False, False): frozenset({(False, True)}),
    (True, False): frozenset({(False, True), (True, True), (False, False)}),
}
"""Of what can follow on the one, all can follow on the others as well."""


class Floor:
    """The least sums (see `sums.py`) for any choice of nodes; what was worked out serves all nodes of the same kind.

    Looks only at what overcommits just as much as `overcommit`, where less is not possible.
    """

    def __init__(self, filling: Filling, nodes: Collection[int], overcommit: int) -> None:
        self.vcpus = filling.ground.wish.vcpus
        self._start, self._end = (much * WEIGHT["overcommit"] for much in (overcommit, overcommit + 1))
        self._kind: dict[int, int] = {}
        self._parts: list[dict[Part, int]] = []
        for node in sorted(nodes):
            parts = dict(self._useful(filling.alone(node)))
            if parts not in self._parts:
                self._parts.append(parts)
            self._kind[node] = self._parts.index(parts)
        holds = (max((part[0] for part in self._parts[kind]), default=0) for kind in self._kind.values())
        self._room = tuple(accumulate(sorted(holds, reverse=True), initial=0))
        """How many vCPUs fit on one node, two, … at most."""
        self._known: dict[tuple[Kinds, int, int], Table] = {}

    def least(self, inside: Collection[int], others: Collection[int], count: int) -> dict[bool, int]:
        """The least sum of all vCPUs on all nodes `inside` and on so many of the others, with and without a helper CPU
        left. Nothing where they do not fit.
        """
        total = len(inside) + count
        here = self._exactly(self._kinds(inside), len(inside), total)
        there = self._exactly(self._kinds(others), count, total)
        found: dict[bool, int] = {}
        for (split, spare), one in here.items():
            for (again, also), other in there.items():
                if not (split and again):
                    least = min(self._pairs(one, other), default=self._end)
                    if least < found.get(spare or also, self._end):
                        found[spare or also] = max(self._start, least)
        return found

    def _pairs(self, one: Row, other: Row) -> Iterator[int]:
        """Sums of two rows that are all vCPUs together."""
        low = max(one.first, self.vcpus - other.first - len(other.sums) + 1)
        high = min(one.first + len(one.sums), self.vcpus - other.first + 1)
        for vcpus in range(low, high):
            yield one.sums[vcpus - one.first] + other.sums[self.vcpus - vcpus - other.first]

    def fits(self, inside: Collection[int], others: Collection[int]) -> bool:
        """Whether all vCPUs may fit on all nodes `inside` and some of the others."""
        table = self._exactly(self._kinds(inside), len(inside), len(self._kind))
        for node in others:
            table = self._joined(table, table, self._parts[self._kind[node]], 0)
        return any(row.first + len(row.sums) > self.vcpus for row in table.values())

    def _kinds(self, nodes: Iterable[int]) -> Kinds:
        return tuple(sorted(self._kind[node] for node in nodes))

    def _exactly(self, kinds: Kinds, count: int, total: int) -> Table:
        """What `count` of these nodes cost at least, for each number of vCPUs for which `total` nodes may be enough."""
        if count == 0:
            return NOTHING
        kinds = tuple(_at_most(kinds, count))
        if count > len(kinds):
            return {}
        if (kinds, count, total) not in self._known:
            without = self._exactly(kinds[1:], count, total)
            fewer = self._exactly(kinds[1:], count - 1, total)
            low = max(0, self.vcpus - self._room[total - count])
            self._known[kinds, count, total] = self._joined(without, fewer, self._parts[kinds[0]], low)
        return self._known[kinds, count, total]

    def _joined(self, without: Table, fewer: Table, parts: Mapping[Part, int], low: int) -> Table:
        """The better of what is known without a node, and of fewer nodes and this one, for as many vCPUs as `low`."""
        end = self.vcpus + 1
        found: dict[Left, list[int]] = defaultdict(lambda: [self._end] * end)
        for state, row in without.items():
            found[state][row.first : row.first + len(row.sums)] = row.sums
        for (split, spare), row in fewer.items():
            for (more, again, also), price in parts.items():
                first = row.first + more
                start, stop = max(first, low), min(first + len(row.sums), end)
                if start < stop and not (split and again):
                    best = found[split or again, spare or also]
                    pairs = zip(row.sums[start - first : stop - first], best[start:stop], strict=True)
                    best[start:stop] = [total if (total := one + price) < known else known for one, known in pairs]
        return dict(self._trimmed(found))

    def _trimmed(self, found: Mapping[Left, list[int]]) -> Iterator[tuple[Left, Row]]:
        """Without what is no better than a state from which more can follow."""
        for state in found:
            sums = found[state]
            for other in BETTER[state] & found.keys():
                sums = [one if one < better else self._end for one, better in zip(sums, found[other], strict=True)]
            places = [place for place, total in enumerate(sums) if total < self._end]
            if places:
                yield state, Row(places[0], sums[places[0] : places[-1] + 1])

    def _useful(self, parts: Mapping[Part, int]) -> Iterator[tuple[Part, int]]:
        """The same for one node."""
        for (vcpus, *left), total in parts.items():
            better = (parts.get((vcpus, *other), self._end) for other in BETTER[left[0], left[1]])
            if total < min(better, default=self._end) and total < self._end:
                yield (vcpus, left[0], left[1]), total


def _at_most(kinds: Kinds, count: int) -> Iterator[int]:
    """Of each kind no more than that."""
    for kind, times in Counter(kinds).items():
        yield from (kind,) * min(times, count)
