"""Random problems have all that hosts, VMs and wishes can have, and are the same for the same number."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from kvmctl.plan.placement.wish import POLICIES, THREADS
from kvmctl.plan.topology import Topology
from tests.plan.placement.definition import Problem
from tests.plan.placement.topologies import MIDDLE, SMALL, problem

PROBLEMS = [problem(seed) for seed in range(1500)]


def threads(topology: Topology) -> set[int]:
    return {len(cpus) for cpus in topology.cores.values()}


def homes(topology: Topology) -> dict[int, set[int]]:
    """The nodes of each L3 group."""
    found: dict[int, set[int]] = {}
    for cpu in topology.cpus.values():
        found.setdefault(cpu.cache, set()).add(cpu.node)
    return found


def nodes_with_cpus(topology: Topology) -> set[int]:
    return {cpu.node for cpu in topology.cpus.values()}


def one_way(topology: Topology) -> bool:
    nodes = topology.nodes.values()
    return any(
        one.distances.get(other.number, 20) != other.distances.get(one.number, 20) for one in nodes for other in nodes
    )


FEATURES: dict[str, Callable[[Problem], bool]] = {
    "one node": lambda one: len(one.topology.nodes) == 1,
    "four nodes": lambda one: len(one.topology.nodes) == 4,
    "offline CPUs": lambda one: len(one.topology.online) < len(one.topology.cpus),
    "isolated CPUs": lambda one: any(cpu.isolated for cpu in one.topology.cpus.values()),
    "isolation unknown": lambda one: any(cpu.isolated is None for cpu in one.topology.cpus.values()),
    "no SMT": lambda one: threads(one.topology) == {1},
    "four threads": lambda one: 4 in threads(one.topology),
    "cores of several kinds": lambda one: (
        len(threads(one.topology)) > 1 and len(one.topology.online) == len(one.topology.cpus)
    ),
    "gaps in CPU numbers": lambda one: max(one.topology.cpus) >= len(one.topology.cpus),
    "gaps in node numbers": lambda one: max(one.topology.nodes) >= len(one.topology.nodes),
    "several L3 groups on a node": lambda one: len(homes(one.topology)) > len(nodes_with_cpus(one.topology)),
    "an L3 group across nodes": lambda one: any(len(nodes) > 1 for nodes in homes(one.topology).values()),
    "a node without CPUs": lambda one: nodes_with_cpus(one.topology) < set(one.topology.nodes),
    "a node without memory": lambda one: any(not node.memory for node in one.topology.nodes.values()),
    "nodes of different size": lambda one: (
        len(
            {
                len([cpu for cpu in one.topology.cpus.values() if cpu.node == node])
                for node in nodes_with_cpus(one.topology)
            }
        )
        > 1
    ),
    "an odd number of cores": lambda one: len(one.topology.cores) % 2 == 1,
    "distances that differ by direction": lambda one: one_way(one.topology),
    "distances not known": lambda one: any(
        len(node.distances) < len(one.topology.nodes) for node in one.topology.nodes.values()
    ),
    "a VM pinned one to one": lambda one: any(
        vm.vcpus and all(len(cpus) == 1 for cpus in vm.vcpus.values()) for vm in one.tenants
    ),
    "a VM pinned widely": lambda one: any(len(cpus) > 2 for vm in one.tenants for cpus in vm.vcpus.values()),
    "a VM that floats": lambda one: any(not vm.vcpus for vm in one.tenants),
    "a VM partly pinned": lambda one: any(0 < len(vm.vcpus) < vm.count for vm in one.tenants),
    "an exclusive VM": lambda one: any(vm.exclusive and vm.pinned for vm in one.tenants),
    "a VM with whole cores": lambda one: any(vm.whole_cores and vm.pinned for vm in one.tenants),
    "a pooled VM": lambda one: any(vm.pooled and vm.vcpus for vm in one.tenants),
    "an emulator pinned by hand": lambda one: any(vm.emulator and not vm.automatic for vm in one.tenants),
    "an emulator pinned by kvmctl": lambda one: any(vm.emulator and vm.automatic for vm in one.tenants),
    "an iothread pinned by hand": lambda one: any(vm.iothreads and not vm.automatic for vm in one.tenants),
    "CPUs the host has not": lambda one: any(vm.pinned - set(one.topology.cpus) for vm in one.tenants),
    "more VMs than CPUs": lambda one: len(one.tenants) > len(one.topology.cpus),
    "nobody else": lambda one: not one.tenants,
    "near a device": lambda one: bool(one.wish.near),
    "near two devices of a node": lambda one: len(set(one.wish.near)) < len(one.wish.near),
    "strict": lambda one: one.wish.strict,
    "huge pages": lambda one: one.wish.page_size is not None,
    "some CPUs only": lambda one: one.wish.cpus is not None,
    "some nodes only": lambda one: one.wish.nodes is not None,
    "no memory": lambda one: not one.wish.memory,
    "more memory than there is": lambda one: one.wish.memory > sum(one.available.values()),
    "more vCPUs than CPUs": lambda one: one.wish.vcpus > len(one.topology.online),
    "all CPUs": lambda one: one.wish.vcpus == len(one.topology.online),
    "no helpers": lambda one: not one.wish.helpers,
    "several helpers": lambda one: one.wish.helpers > 1,
}


@pytest.mark.parametrize("name", FEATURES)
def test_there_is_enough_of(name: str) -> None:
    assert sum(map(FEATURES[name], PROBLEMS)) >= 15


def test_wishes_are_of_all_kinds() -> None:
    kinds = {(one.wish.policy, one.wish.threads, one.wish.exclusive) for one in PROBLEMS}
    assert kinds == set(product(POLICIES, THREADS, (False, True)))


@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=["small", "middle"])
def test_hosts_are_no_larger_than_promised(size: object) -> None:
    made = [problem(seed, SMALL if size is SMALL else MIDDLE) for seed in range(300)]
    assert max(len(one.topology.cpus) for one in made) == (SMALL if size is SMALL else MIDDLE).cpus


def test_the_same_number_is_the_same_problem() -> None:
    assert [problem(seed) for seed in range(50)] == PROBLEMS[:50]
