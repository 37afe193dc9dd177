"""Capabilities of many kinds of hosts, read."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from kvmctl.host.cells import Asked, node_numbers, page_sizes, topology_of
from kvmctl.plan.topology import NOWHERE, PagePool, Topology
from tests.host import capabilities

MIB = 2**20
GIB = 2**30
NOTHING = Asked()


def read(text: str, asked: Asked = NOTHING) -> Topology:
    return topology_of(ElementTree.fromstring(text), asked)


def groups(topology: Topology, name: str) -> list[list[int]]:
    """The CPUs that have the same core, cache, …; each group must have a name of its own."""
    found: dict[int, list[int]] = {}
    for number, cpu in topology.cpus.items():
        found.setdefault(getattr(cpu, name), []).append(number)
    return sorted(found.values())


ONE_EACH = [[0], [1], [2], [3], [4], [5], [6], [7]]


def test_a_desktop() -> None:
    found = read(capabilities.desktop())
    assert groups(found, "core") == ONE_EACH
    assert groups(found, "cache") == [[*range(8)]]
    assert found.online == frozenset(range(8))
    assert found.nodes[0].distances == {0: 10}
    assert found.cpus[3].isolated is None


def test_a_server_with_two_of_everything() -> None:
    asked = Asked(
        online=[True] * 8,
        isolated=frozenset((3, 7)),
        free={0: 5 * GIB, 1: 99 * GIB},
        free_pages={0: {2 * MIB: 7}},
    )
    found = read(capabilities.server(), asked)
    assert groups(found, "core") == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert groups(found, "cache") == groups(found, "node") == groups(found, "socket") == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert [number for number, cpu in found.cpus.items() if cpu.isolated] == [3, 7]
    assert found.cores[1] == (1, 5)
    assert [node.free for node in found.nodes.values()] == [5 * GIB, 16 * GIB]  # never more than there is
    assert found.nodes[0].memory == 16 * GIB
    assert found.nodes[0].pages == {2 * MIB: PagePool(total=1024, free=7), GIB: PagePool(total=0, free=0)}
    assert found.distance(0, 1) == 22
    assert found.distance(1, 1) == 0


def test_amd_with_four_nodes_in_a_socket() -> None:
    found = read(capabilities.epyc(sockets=2, ccds=8, cores=4))
    assert len(found.nodes) == 8
    assert len(found.cores) == 64
    assert found.cores[5] == (5, 69)
    caches = groups(found, "cache")
    assert caches[:2] == [[0, 1, 2, 3, 64, 65, 66, 67], [4, 5, 6, 7, 68, 69, 70, 71]]
    assert len(caches) == 16  # each told eight times
    assert {(cpu.node, cpu.socket, cpu.die) for cpu in found.cpus.values()} == {(n, n // 4, n % 4) for n in range(8)}
    assert found.distance(0, 3) == 4
    assert found.distance(0, 4) == 44


def test_intel_whose_nodes_share_a_cache() -> None:
    found = read(capabilities.clustered())
    assert groups(found, "node") == [[*range(n, n + 4)] for n in (0, 4, 8, 12)]
    assert groups(found, "cache") == groups(found, "socket") == [[*range(8)], [*range(8, 16)]]
    assert len(found.cores) == 16  # though each core number comes up twice


def test_large_and_small_cores() -> None:
    found = read(capabilities.hybrid())
    assert groups(found, "core") == [[0, 1], [2, 3], [4], [5], [6], [7], [8], [9]]
    assert groups(found, "cache") == [[*range(8)], [8, 9]]
    assert groups(found, "cluster") == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert found.cpus[0].cluster == 0


def test_arm() -> None:
    found = read(capabilities.arm())
    assert groups(found, "cluster") == [[*range(n, n + 4)] for n in (0, 4, 8, 12)]
    assert groups(found, "cache") == [[*range(8)], [*range(8, 16)]]
    assert found.cpus[8].socket == 3216
    assert [*found.nodes[0].pages] == [2 * MIB, 512 * MIB, 16 * GIB]
    assert page_sizes(ElementTree.fromstring(capabilities.arm())) == [2 * MIB, 512 * MIB, 16 * GIB]


def test_nodes_without_memory_or_cpus_and_numbers_with_holes() -> None:
    online = [True] * 3 + [False] + [True] * 10
    found = read(capabilities.lopsided(), Asked(online=online, free={0: GIB, 2: GIB, 5: GIB}))
    assert node_numbers(ElementTree.fromstring(capabilities.lopsided())) == [*found.nodes] == [0, 2, 5]
    assert (found.nodes[2].memory, found.nodes[2].free, found.nodes[2].pages) == (0, 0, {})
    assert found.nodes[5].distances == {0: 14, 2: 24, 5: 10}
    assert {cpu.node for cpu in found.cpus.values()} == {0, 2}
    assert (found.cpus[3].online, found.cpus[3].node) == (False, 0)
    assert 4 not in found.cpus  # online, says the map, and in no cell
    assert found.online == {0, 1, 2, 8, 9, 12, 13}


def test_a_cpu_that_is_told_without_its_place_is_offline() -> None:
    """Where the host has no map of its CPUs."""
    found = read(capabilities.lopsided())
    assert [number for number, cpu in found.cpus.items() if not cpu.online] == [3]


def test_cpus_that_are_left_out_are_offline() -> None:
    """As libvirt has it after a CPU was switched off: nothing tells where it is, unless it is this machine."""
    online = [True] * 4 + [False] * 2
    text = capabilities.without_numa()
    assert read(text, Asked(online=online)).cpus[4].node == 0  # there is no other
    found = read(capabilities.server(), Asked(online=[True] * 8 + [False] * 2, homes={9: 1}))
    assert [(cpu.node, cpu.core, cpu.online) for cpu in (found.cpus[8], found.cpus[9])] == [
        (NOWHERE, 8, False),
        (1, 9, False),
    ]
    assert len(found.online) == 8
    assert [*found.cpus] == [*range(10)]


def test_the_thread_of_one_that_is_offline_keeps_its_core() -> None:
    text = capabilities.server().replace("siblings='0,4'", "siblings='4'")
    found = read(text, Asked(online=[False] + [True] * 7))
    assert found.cores[4] == (4,)
    assert found.cpus[0].core == 0


def test_a_map_of_other_cpus_is_not_believed() -> None:
    """libvirt's test driver tells sixteen CPUs, and a map of eight."""
    found = read(capabilities.clustered(), Asked(online=[True, False] * 4))
    assert found.online == frozenset(range(16))


def test_a_kernel_without_numa() -> None:
    found = read(capabilities.without_numa(), Asked(free={0: 3 * GIB}))
    assert groups(found, "core") == [[0, 1], [2, 3]]
    assert groups(found, "cache") == [[0, 1, 2, 3]]
    node = found.nodes[0]
    assert (node.memory, node.free, node.pages, node.distances) == (8 * GIB, 3 * GIB, {}, {})


def test_caches_that_overlap_are_told_apart() -> None:
    found = read(capabilities.desktop().replace("</cache>", "<bank level='3' cpus='6-9'/></cache>"))
    assert groups(found, "cache") == [[*range(8)]]
    half = capabilities.desktop().replace("cpus='0-7'", "cpus='4-7'")
    assert groups(read(half), "cache") == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("change", [("socket_id='0'", "socket_id='-1'"), ("socket_id='0'", "")])
def test_a_socket_that_firmware_does_not_tell_is_the_first(change: tuple[str, str]) -> None:
    assert {cpu.socket for cpu in read(capabilities.desktop().replace(*change)).cpus.values()} == {0}


def test_nothing_at_all() -> None:
    found = read("<capabilities><host/></capabilities>", Asked(online=[True, False]))
    assert (found.nodes, found.online) == ({}, frozenset())


def test_a_large_host() -> None:
    found = read(capabilities.server(cores=128))
    assert len(found.cpus) == 512
    assert len(found.cores) == 256
    assert len(groups(found, "cache")) == 2
