"""Nodes that can be swapped: only those that nothing tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kvmctl.plan.placement.alike import twins
from kvmctl.plan.placement.filling import Filling
from kvmctl.plan.placement.ground import Ground
from kvmctl.plan.placement.wish import Wish
from kvmctl.plan.topology import NumaNode, Tenant, Topology
from tests.plan.placement.servers import GIB, Server

# Two sockets of three nodes: node 0 has the CPUs 0, 1, 12 and 13, node 1 has 2, 3, 14 and 15, and so on.
HOST = Server(name="2 x 6 cores, 3 nodes each", sockets=2, nodes=3, cores=2, memory=8 * GIB)
ALL = {1: 0, 2: 1, 4: 3, 5: 4}
EVEN = dict.fromkeys(range(6), 8 * GIB)


def found(
    *tenants: Tenant, host: Topology | None = None, room: Mapping[int, int] = EVEN, **wish: Any
) -> Mapping[int, int]:
    topology = host or HOST.topology()
    ground = Ground(topology=topology, tenants=tenants, wish=Wish(**{"vm": "wanted", "vcpus": 4, **wish}))
    return twins(topology, ground.wish, room, Filling(ground).look)


def on(*cpus: int, **fields: Any) -> Tenant:
    return Tenant(vm="other", vcpus={0: frozenset(cpus)}, **fields)


def test_nodes_of_a_socket_are_alike_and_those_of_two_are_not() -> None:
    assert found() == ALL


def test_who_is_on_a_node_tells_it_apart() -> None:
    assert found(on(2)) == {4: 3, 5: 4}
    assert found(on(0), on(2), on(5)) == ALL  # one core of each of the three nodes
    assert found(on(0), on(2), on(4, exclusive=True)) == {1: 0, 4: 3, 5: 4}
    assert found(Tenant(vm="other", emulator=frozenset({0}))) == {2: 1, 4: 3, 5: 4}


def test_memory_tells_nodes_apart() -> None:
    assert found(room=EVEN | {1: GIB}) == {4: 3, 5: 4}


def test_a_device_tells_its_node_apart() -> None:
    assert found(near=(2,)) == {1: 0, 4: 3, 5: 4}


def test_what_may_be_used_tells_nodes_apart() -> None:
    assert found(cpus=frozenset(range(24)) - {12}) == {2: 1, 4: 3, 5: 4}


def test_one_distance_tells_nodes_apart() -> None:
    host = HOST.topology()
    nodes = dict(host.nodes)
    nodes[5] = replace(nodes[5], distances={**nodes[5].distances, 0: 33})
    assert found(host=replace(host, nodes=nodes)) == {2: 1, 4: 3}


def test_a_cache_shared_with_a_third_node_is_not_any_cache() -> None:
    shared = Server(name="L3 over two nodes", sockets=2, nodes=2, cores=2, cluster=True).topology()
    assert found(host=shared) == {1: 0, 3: 2}
    flat = {number: replace(node, distances=dict.fromkeys(range(4), 20)) for number, node in shared.nodes.items()}
    assert found(host=replace(shared, nodes=flat)) == {1: 0, 3: 2}


@pytest.mark.parametrize("far", [12, 32])
def test_a_node_between_them_parts_nodes_that_are_alike(far: int) -> None:
    """Memory goes to the lower of two nodes equally near, and a swap would change who is lower."""
    host = HOST.topology()
    moved = {2: 6}
    cpus = {number: replace(cpu, node=moved.get(cpu.node, cpu.node)) for number, cpu in host.cpus.items()}
    nodes = {
        moved.get(number, number): replace(
            node,
            number=moved.get(number, number),
            distances={moved.get(other, other): far if other != number else 10 for other in node.distances},
        )
        for number, node in host.nodes.items()
    }
    nodes[2] = NumaNode(number=2, memory=GIB, free=GIB, distances=dict.fromkeys(nodes, far))
    alike = found(host=Topology(cpus=cpus, nodes=nodes), room={**EVEN, 2: GIB, 6: 8 * GIB})
    assert alike == {1: 0, 4: 3, 5: 4, 6: 5}
