"""Which nodes can be swapped without any placement costing more or less.

Of two such nodes, only sets with the lower one need to be looked at: a set with the higher one alone is a mirror image.
They must be next to each other in number, since memory goes to the lower of two nodes that are equally near.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.placement.wish import Wish
    from kvmctl.plan.topology import Topology


def twins(topology: Topology, wish: Wish, room: Mapping[int, int], look: Callable[[int], Hashable]) -> dict[int, int]:
    """The lower twin of each node that has one. Nodes of equal `look` have like CPUs; `room` is bytes by node."""
    distance = topology.distance
    nodes = sorted(topology.nodes)

    def alike(one: int, other: int) -> bool:
        if room.get(one, 0) != room.get(other, 0) or look(one) != look(other):
            return False
        near = sum(distance(device, one) - distance(device, other) for device in wish.near)
        return not near and all(distance(one, far) == distance(other, far) for far in nodes if far not in (one, other))

    return {other: one for one, other in pairwise(nodes) if alike(one, other)}
