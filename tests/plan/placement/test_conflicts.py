"""Where VMs are in each other's way, over a whole host."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from kvmctl.host.cells import Asked, topology_of
from kvmctl.plan.placement.conflicts import conflicts
from kvmctl.plan.placement.inventory import inventory
from kvmctl.plan.topology import Tenant, Topology
from tests.host import capabilities
from tests.plan.placement.test_picture import cpus, vm
from tests.plan.placement.topologies import problem

HOST = topology_of(ElementTree.fromstring(capabilities.server()), Asked())
"""Cores 0,4 1,5 on node 0, and 2,6 3,7 on node 1."""


def found(*tenants: Tenant, topology: Topology = HOST) -> list[tuple[str, tuple[str, ...], frozenset[int], bool]]:
    return [(each.code, each.vms, each.cpus, each.now) for each in conflicts(topology, tenants)]


def said(*tenants: Tenant) -> list[str]:
    return [each.what for each in conflicts(HOST, tenants)]


def test_vms_that_keep_apart() -> None:
    one = vm("one", 0, 4, emulator=cpus(3, 7), exclusive=True)
    two = vm("two", 1, emulator=cpus(3, 7), iothreads={1: cpus(3)})
    assert found(one, two, vm("three", 5), Tenant(vm="floats", count=4)) == []


def test_vcpus_that_share_a_cpu() -> None:
    one, two, three = vm("one", 0, 4), vm("two", 0, 4, 1), vm("three", 1)
    assert found(one, two, three) == [
        ("shared-cpus", ("one", "two"), cpus(0, 4), True),
        ("shared-cpus", ("three", "two"), cpus(1), True),
    ]
    assert said(one, two) == ["one and two share CPUs 0,4"]


def test_a_crowd_is_one_conflict() -> None:
    crowd = [Tenant(vm=f"vm{number}", count=2, vcpus=dict.fromkeys(range(2), cpus(0, 1, 4, 5))) for number in range(9)]
    assert [(code, len(vms), where) for code, vms, where, _ in found(*crowd)] == [("shared-cpus", 9, cpus(0, 1, 4, 5))]
    assert said(*crowd) == ["vm0, vm1, vm2 and 6 more share CPUs 0-1,4-5"]


def test_threads_of_one_core_are_no_conflict() -> None:
    assert found(vm("one", 0), vm("two", 4)) == []


@pytest.mark.parametrize("running", [True, False])
def test_one_that_does_not_run(running: bool) -> None:
    assert found(vm("one", 0), vm("two", 0, running=running)) == [("shared-cpus", ("one", "two"), cpus(0), running)]


@pytest.mark.parametrize(
    "stranger",
    [
        vm("two", 0),
        Tenant(vm="two", vcpus={0: cpus(0, 7)}),
        vm("two", 7, emulator=cpus(0, 2)),
        vm("two", 7, iothreads={1: cpus(0, 2)}),
    ],
)
def test_somebody_where_another_is_alone(stranger: Tenant) -> None:
    assert found(vm("one", 0, exclusive=True), stranger) == [("exclusive-shared", ("one", "two"), cpus(0), True)]


def test_the_other_thread_of_a_core_that_one_has_alone() -> None:
    whole = vm("one", 0, exclusive=True, whole_cores=True)
    assert found(whole, vm("two", 4)) == [("exclusive-shared", ("one", "two"), cpus(4), True)]
    assert said(whole, vm("two", 4)) == ["CPU 4 belongs to one alone, and two is there too"]
    assert found(vm("one", 0, exclusive=True), vm("two", 4)) == []


def test_two_that_are_both_alone() -> None:
    one, two = (vm(name, 0, 1, exclusive=True) for name in ("one", "two"))
    assert found(one, two) == [("exclusive-shared", ("one", "two"), cpus(0, 1), True)]
    assert said(one, two) == ["CPUs 0-1 belong to one and two alone each"]
    assert said(one, two, vm("three", 1))[1] == "CPU 1 belongs to one and two alone, and three is there too"


@pytest.mark.parametrize(("owner", "stranger", "now"), [(True, True, True), (True, False, False), (False, True, False)])
def test_exclusive_ones_that_do_not_run(owner: bool, stranger: bool, now: bool) -> None:
    pair = vm("one", 0, exclusive=True, running=owner), vm("two", 0, running=stranger)
    assert [each.now for each in conflicts(HOST, pair)] == [now]


def test_helpers_that_have_only_cores_of_vcpus() -> None:
    assert found(vm("one", 0, 1, emulator=cpus(4, 5))) == [("helpers-on-vcpu-cores", ("one",), cpus(4, 5), True)]
    assert said(vm("one", 0, 1, emulator=cpus(4, 5))) == [
        "the emulator of one is bound to CPUs 4-5, on cores of its own vCPUs"
    ]
    assert found(vm("one", 0, 1, emulator=cpus(4, 2))) == []  # which has a way out
    both = vm("one", 0), vm("two", 1, emulator=cpus(4), iothreads={1: cpus(4), 2: cpus(4)})
    assert said(*both) == ["the emulator and iothreads of two are bound to CPU 4, on cores of vCPUs of one"]
    assert found(*both) == [("helpers-on-vcpu-cores", ("two", "one"), cpus(4), True)]


def test_what_is_wrong_with_one_alone() -> None:
    assert found(vm("one", 3, 3)) == [("vcpus-crowded", ("one",), cpus(3), True)]
    assert found(vm("one", 3, 44, running=False)) == [("offline-cpus", ("one",), cpus(44), False)]


def test_threads_that_may_run_anywhere_are_in_nobodys_way() -> None:
    everywhere = frozenset(range(8))
    anywhere = Tenant(vm="two", count=2, vcpus=dict.fromkeys(range(2), everywhere), emulator=everywhere)
    pooled = vm("three", 0, pooled=True)
    assert found(vm("one", 0, exclusive=True), anywhere, pooled) == []


# -- for programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_inventory_says_who_may_run_where(seed: int) -> None:
    """Each thread that is bound, at each of its CPUs that are online, and nothing else."""
    case = problem(seed)
    topology, tenants = case.topology, case.tenants
    told = {
        (cpu["number"], there["vm"], there["kind"], there["number"])
        for cpu in inventory(topology, tenants)["cpus"]
        for there in cpu["occupants"]
    }
    wanted = set()
    for tenant in tenants:
        pins: list[tuple[str, int | None, frozenset[int]]] = [("vcpu", *pin) for pin in tenant.vcpus.items()]
        pins.append(("emulator", None, tenant.emulator or frozenset()))
        pins += [("iothread", *pin) for pin in tenant.iothreads.items()]
        for kind, number, pin in pins:
            bound = len(topology.online) == 1 or topology.online - pin
            if bound and not tenant.pooled:
                wanted |= {(cpu, tenant.vm, kind, number) for cpu in pin & topology.online}
    assert told == wanted


@pytest.mark.parametrize("seed", range(40))
def test_conflicts_are_where_vcpus_meet(seed: int) -> None:
    """Every CPU with vCPUs of two VMs is in a conflict that names both."""
    case = problem(seed)
    told = conflicts(case.topology, case.tenants)
    for cpu in inventory(case.topology, case.tenants)["cpus"]:
        meeting = {there["vm"] for there in cpu["occupants"] if there["kind"] == "vcpu"}
        if len(meeting) > 1:
            assert any(cpu["number"] in each.cpus and meeting <= {*each.vms} for each in told)


def test_what_nobody_knows_is_null_for_programs() -> None:
    online = [True] * 8 + [False]
    host = topology_of(ElementTree.fromstring(capabilities.server()), Asked(online=online))
    last = inventory(host, [])["cpus"][8]
    assert (last["number"], last["online"], last["occupants"]) == (8, False, [])
    assert {last[name] for name in ("node", "socket", "die", "cluster", "core", "cache", "isolated")} == {None}
