"""The NUMA nodes that a guest sees: one cell for each node of the host that its memory is on.

None where all of the memory is on one node, and none where it cannot be said which vCPUs are where. The memory of the
cells is all of the VM's memory to the byte, each in whole huge pages, or in what libvirt would not round up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.placement.finding import nodes as named
from kvmctl.plan.topology import LOCAL
from kvmctl.spec.model.numa import Cell

if TYPE_CHECKING:
    from kvmctl.plan.topology import Topology

UNITS = (2**20, 2**10, 1)
"""libvirt rounds the memory of a cell up to whole MiB."""
REMOTE = 2 * LOCAL
"""What libvirt takes for a distance that is not given."""
FARTHEST = 254


def cells_of(
    topology: Topology, vcpus: Sequence[int | None], memory: Mapping[int, int], page_size: int | None
) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """The cells, and in sentences what is not as on the host. `vcpus` has the node of each vCPU, None if several."""
    used = {node for node in vcpus if node is not None}
    sizes = _whole(memory, page_size)
    if None in vcpus:
        several = len(used | sizes.keys()) > 1
        return (), ("some vCPUs may run on more than one node: the guest sees no NUMA nodes",) if several else ()
    if len(sizes) < 2:
        if len(used) < 2:
            return (), ()
        return (), (f"no memory on {named(frozenset(used - sizes.keys()))}: the guest sees no NUMA nodes",)
    # Nodes without vCPUs last: no guest wants its first node to be one.
    order = sorted(sizes, key=lambda node: (node not in used, node))
    homes = {node: _nearest(topology, node, order) for node in used}
    inside = {
        home: frozenset(number for number, node in enumerate(vcpus) if node is not None and homes[node] == home)
        for home in order
    }
    cells = tuple(
        Cell(
            cpus=inside[node] or None,
            memory=sizes[node],
            nodes=frozenset({node}),
            distances={number: _distance(topology, node, other) for number, other in enumerate(order) if other != node},
        )
        for node in order
    )
    return cells, tuple(
        f"no memory on node {node}: the guest sees its vCPUs on that of node {home}"
        for node, home in sorted(homes.items())
        if node != home
    )


def _whole(memory: Mapping[int, int], page_size: int | None) -> dict[int, int]:
    """Whole pages by node, summing up to the same; what is broken off goes where most of a page was."""
    total = sum(memory.values())
    unit = next(size for size in (page_size, *UNITS) if size and total % size == 0)
    sizes = {node: size // unit * unit for node, size in memory.items()}
    broken = sorted(memory, key=lambda node: (sizes[node] - memory[node], node))
    for node in broken[: (total - sum(sizes.values())) // unit]:
        sizes[node] += unit
    return {node: size for node, size in sizes.items() if size}


def _nearest(topology: Topology, node: int, homes: Sequence[int]) -> int:
    return min(homes, key=lambda home: (home != node, topology.distance(node, home), home))


def _distance(topology: Topology, node: int, other: int) -> int:
    """As on the host, within what libvirt allows."""
    found = topology.nodes[node].distances.get(other, REMOTE) if node in topology.nodes else REMOTE
    return min(FARTHEST, max(LOCAL + 1, found))
