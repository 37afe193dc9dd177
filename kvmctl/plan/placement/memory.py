"""How much memory each node has for one more VM, and where a VM's memory goes once its vCPUs have their nodes.

What is counted is what VMs were promised, not what happens to be free: the kernel gives its page cache back when memory
is asked for, and a VM that has not touched its memory yet will. Huge pages, which nothing gives back, are counted as
they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology


def available(topology: Topology, tenants: Sequence[Tenant], page_size: int | None) -> dict[int, int]:
    """Bytes for one more VM by node: of huge pages of a size, or (None) of ordinary memory."""
    found: dict[int, int] = {}
    for number, node in topology.nodes.items():
        if page_size is None:
            found[number] = node.memory - sum(size * pool.total for size, pool in node.pages.items())
        else:
            pool = node.pages.get(page_size)
            found[number] = pool.free * page_size if pool else 0
    whole = {number for number, node in topology.nodes.items() if node.memory}
    for tenant in tenants:
        if tenant.page_size != page_size or (page_size is not None and tenant.running):
            continue  # of other pages, or taken from the free ones already
        nodes = (tenant.memory_nodes & topology.nodes.keys()) or whole
        for number in nodes:
            found[number] -= tenant.memory // len(nodes)
    return {number: max(0, size) for number, size in found.items()}


@dataclass(frozen=True, kw_only=True)
class Spill:
    """Memory that has no room on the vCPUs' nodes: how much, and the other nodes it goes to."""

    remote: int
    nodes: tuple[int, ...]


def spill(topology: Topology, inside: Collection[int], memory: int, room: Mapping[int, int]) -> Spill:
    """What does not fit on the nodes `inside` goes to the nearest others, as few as do."""
    remote = left = max(0, memory - sum(room.get(node, 0) for node in inside))
    taken: list[int] = []

    def how_far(node: int) -> tuple[int, int]:
        return sum(topology.distance(node, other) for other in inside), node

    for node in sorted(room.keys() - set(inside), key=how_far):
        if left <= 0:
            break
        if room[node] > 0:
            taken.append(node)
            left -= room[node]
    return Spill(remote=remote, nodes=tuple(taken))


def share(inside: Collection[int], outside: Sequence[int], memory: int, room: Mapping[int, int]) -> dict[int, int]:
    """Bytes by node: evenly on the nodes `inside` as far as they have room, the rest outside in the order given."""
    given: dict[int, int] = {}
    left = memory
    nodes = sorted(inside, key=lambda node: (room.get(node, 0), node))
    for index, node in enumerate(nodes):
        given[node] = min(room.get(node, 0), -(-left // (len(nodes) - index)))
        left -= given[node]
    for node in outside:
        given[node] = min(room[node], left)
        left -= given[node]
    if left > 0:  # overcommitted
        given[nodes[-1]] += left
    return {node: size for node, size in sorted(given.items()) if size}
