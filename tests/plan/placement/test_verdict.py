"""What is wrong with where a VM is. The host has 2 nodes with one L3 cache, 2 cores, 4 threads each: 0-3 and 4-7."""

from __future__ import annotations

from typing import Any

import pytest

from kvmctl.plan.placement.drift import drift
from kvmctl.plan.placement.finding import Finding
from kvmctl.plan.placement.verdict import findings
from kvmctl.plan.topology import HostCpu, NumaNode, Tenant, Topology
from kvmctl.spec.kinds import parse_cpus

GIB = 2**30


def host(*, offline: str = "", caches: int = 4, isolated: str = "") -> Topology:
    """`caches`: CPUs that share one."""
    away, alone = (parse_cpus(text) if text else frozenset() for text in (offline, isolated))
    return Topology(
        cpus={
            number: HostCpu(
                number=number,
                node=number // 4,
                core=number // 2 * 2,
                cache=number // caches * caches,
                online=number not in away,
                isolated=number in alone,
            )
            for number in range(8)
        },
        nodes={number: NumaNode(number=number, memory=4 * GIB, free=3 * GIB) for number in (0, 1)},
    )


def vm(name: str = "web1", *vcpus: str, emulator: str = "", iothreads: tuple[str, ...] = (), **more: Any) -> Tenant:
    """A VM with its vCPUs pinned one by one; "" for one that is not."""
    return Tenant(
        vm=name,
        uuid=name,
        **{"count": len(vcpus) or 1, **more},
        vcpus={number: parse_cpus(cpus) for number, cpus in enumerate(vcpus) if cpus},
        emulator=parse_cpus(emulator) if emulator else None,
        iothreads={number: parse_cpus(cpus) for number, cpus in enumerate(iothreads, 1) if cpus},
        iothread_count=len(iothreads),
    )


def found(
    tenant: Tenant, *others: Tenant, topology: Topology | None = None, memory: dict[int, int] | None = None
) -> dict[str, Finding]:
    """By code."""
    said = findings(topology or host(), tenant, others, memory)
    assert len({finding.code for finding in said}) == len(said)
    for finding in said:
        assert finding.hint
        assert not finding.what.endswith(".")
    return {finding.code: finding for finding in said}


GOOD = vm("web1", "0", "1", emulator="2-3")
"""A core of its own, and its emulator beside it."""


def test_nothing_is_wrong_with_a_good_place() -> None:
    assert found(GOOD, vm("web2", "4-5", "4-5", emulator="6-7"), vm("web3"), memory={0: 4 * GIB, 1: 0}) == {}
    assert found(GOOD, GOOD) == {}, "a VM is not in its own way"


def test_vcpus_that_float() -> None:
    assert found(vm())["vcpus-float"].what == "its vCPUs float over the whole host"
    assert found(vm())["vcpus-float"].hint == "kvmctl pin auto web1"
    assert found(vm("web1", "0-7"))["vcpus-float"].what == "its vCPUs float over the whole host"
    assert found(vm("web1", "0", "", emulator="2"))["vcpus-float"].what == "vCPU 1 floats over the whole host"
    assert found(vm("web1", "0", "", "", emulator="2"))["vcpus-float"].what.startswith("vCPUs 1-2 float ")
    assert "vcpus-float" not in found(vm("web1", "0", count=1))
    assert found(vm(pooled=True)) == {}


def test_vcpus_that_float_over_what_others_have_alone() -> None:
    said = found(vm(), vm("web2", "4", exclusive=True, whole_cores=True), vm("web3", "1", exclusive=True))
    assert list(said) == ["floats-over-exclusive"]
    assert said["floats-over-exclusive"].what == (
        "its vCPUs float over the whole host, also over CPUs 1,4-5, which web2 and web3 are to have alone"
    )
    assert said["floats-over-exclusive"].cpus == {1, 4, 5}
    assert "kvmctl pin pool" in said["floats-over-exclusive"].hint


def test_pins_to_cpus_that_are_offline_or_not_there() -> None:
    said = found(vm("web1", "0", "3", emulator="2,9", iothreads=("3",)), topology=host(offline="3"))
    offline = said["offline-cpus"]
    assert offline.what == (
        "vCPU 1, the emulator and iothread 1 are pinned to CPUs 3,9, offline or not there; "
        "vCPU 1 and iothread 1 have no other, and so the VM cannot start"
    )
    assert offline.hint == "kvmctl pin auto web1, or bring back CPU 3: echo 1 >/sys/devices/system/cpu/cpu3/online"
    assert offline.cpus == {3, 9}
    assert "bring back" not in found(vm("web1", "9"))["offline-cpus"].hint
    assert "vcpus-crowded" not in found(vm("web1", "9"))


def test_more_vcpus_than_cpus() -> None:
    said = found(vm("web1", "0-1", "0-1", "0-1", emulator="2-3"))
    assert said["vcpus-crowded"].what == "3 vCPUs are pinned to CPUs 0-1, and wait for one another"
    assert "vcpus-crowded" not in found(vm("web1", "0-1", "0-1", emulator="2-3"))
    assert "vcpus-crowded" not in found(vm("web1", "0", "0", emulator="2-3", count=1)), "one is not plugged in"


def test_cpus_that_other_vms_are_pinned_to() -> None:
    others = [vm("web2", "1-3", emulator="6"), vm("web3", "4", emulator="0"), vm("web4", "0-7")]
    texts = [each.what for each in findings(host(), GOOD, others, None)]
    assert texts == ["shares CPU 1 with web2", "shares CPU 0 with web3"]
    stopped = found(GOOD, vm("web2", "1", running=False))
    assert stopped["shared-cpus"].what == "shares CPU 1 with web2 (stopped)"
    assert stopped["shared-cpus"].hint == "kvmctl pin auto web1, or kvmctl pin auto web2"
    assert found(GOOD, vm("web2", "4", emulator="0", automatic=True)) == {}, "kvmctl moves such an emulator itself"
    by_hand = vm("web2", "4", emulator="0", automatic=True, by_hand=frozenset({"emulator"}))
    assert "shared-cpus" in found(GOOD, by_hand)
    assert found(GOOD, vm("web2", "0", pooled=True)) == {}


def test_exclusive_cpus_that_others_are_on() -> None:
    mine = vm("web1", "0", "1", emulator="2-3", exclusive=True)
    theirs = vm("web2", "1", exclusive=True)
    assert found(mine, vm("web2", "1"))["exclusive-shared"].what == (
        "shares CPU 1 with web2, though web1 is to be alone there"
    )
    assert found(mine, theirs)["exclusive-shared"].what.endswith("though web2 and web1 are to be alone there")
    assert found(GOOD, theirs)["exclusive-shared"].what.endswith("though web2 is to be alone there")
    loose = found(mine, vm("web2"), vm("web3", running=False), vm("web4", pooled=True))
    assert loose["exclusive-shared"].what == "web2 floats over the whole host, its exclusive CPUs included"
    assert "kvmctl pin pool" in loose["exclusive-shared"].hint


def test_cores_shared_with_others() -> None:
    said = found(vm("web1", "0", emulator="2-3"), vm("web2", "1"))
    assert list(said) == ["shared-cores"]
    assert said["shared-cores"].what == "shares cores with web2, which has their other threads, CPU 1"
    assert found(vm("web1", "0", emulator="2-3"), vm("web2", "4", emulator="1")) == {}, "an emulator is no vCPU"


def test_cores_of_which_only_a_part_is_used() -> None:
    said = found(vm("web1", "0", "2", emulator="4-7"))
    assert said["split-cores"].what == "its vCPUs have 2 cores only in part: 0,2 of CPUs 0-3"
    assert said["split-cores"].cpus == {0, 1, 2, 3}
    assert found(vm("web1", "0", "1", "2", emulator="4")) == {}, "of three vCPUs one has a core for itself"
    assert found(vm("web1", "0", "2", emulator="4", automatic=True)) == {}
    assert found(vm("web1", "0", "2", emulator="4", exclusive=True, whole_cores=True)) == {}
    assert found(vm("web1", "0", "2", emulator="4"), topology=host(offline="1,3")) == {}


def test_helpers_on_the_cores_of_vcpus() -> None:
    said = found(vm("web1", "0", "1", iothreads=("1", "", "3")))
    assert list(said) == ["helpers-on-vcpu-cores"]
    helpers = said["helpers-on-vcpu-cores"]
    assert helpers.what == "the emulator, iothread 1 and iothread 2 may run on the cores of its vCPUs"
    assert helpers.hint == "kvmctl pin set web1 --emulator 2-3 --iothread 1=2-3 --iothread 2=2-3"
    assert helpers.cpus == {0, 1}
    near = found(vm("web1", "0", "1"), vm("web2", "2", "3", exclusive=True))
    assert near["helpers-on-vcpu-cores"].hint == "kvmctl pin set web1 --emulator 4-7"
    isolated = found(vm("web1", "0", "1"), topology=host(isolated="3"))
    assert isolated["helpers-on-vcpu-cores"].hint == "kvmctl pin set web1 --emulator 2"
    everywhere = vm("web1", *map(str, range(7)), "7")
    assert "helpers-on-vcpu-cores" not in found(everywhere), "there is nowhere else to go"
    assert "helpers-on-vcpu-cores" not in found(vm()), "a VM that floats has no cores"


def test_more_nodes_than_are_needed() -> None:
    said = found(vm("web1", "2-3", "4-5", emulator="0"))
    assert said["spread-nodes"].what == "its vCPUs are on nodes 0-1, where 1 would do"
    assert "spread-caches" not in said
    both = frozenset({0, 1})
    assert "spread-nodes" not in found(vm("web1", "2-3", "4-5", emulator="0", memory_nodes=both)), "it is meant"
    assert "spread-nodes" not in found(vm("web1", "2-3", "4-5", emulator="0", automatic=True))
    assert "spread-nodes" not in found(vm("web1", "0", "1", "2", "3", "4", emulator="6"))


def test_more_caches_than_are_needed() -> None:
    assert found(vm("web1", "0-3", emulator="4"), topology=host(caches=2))["spread-caches"].what == (
        "its vCPUs are on 2 L3 caches, where 1 would do"
    )
    assert found(vm("web1", "0-3", "0-3", "0-3", emulator="4"), topology=host(caches=2)) == {}


def test_memory_on_other_nodes() -> None:
    said = found(GOOD, memory={0: 3 * GIB, 1: GIB})
    assert said["remote-memory"].what == "25 % of its memory is on node 1, its vCPUs are on node 0"
    assert said["remote-memory"].hint == "kvmctl pin set web1 --nodes 0"
    assert found(GOOD, memory={0: 99 * GIB, 1: GIB}) == {}, "a little is QEMU's own"
    bound = vm("web1", "0", "1", emulator="2-3", memory_nodes=frozenset({0, 1}))
    assert found(bound)["remote-memory"].what == "its memory may be on node 1, its vCPUs are on node 0"
    assert found(bound, memory={0: GIB}) == {}, "what is, counts, not what may be"
    assert "remote-memory" not in found(vm(), memory={0: GIB, 1: GIB}), "its vCPUs may be anywhere"


def test_many_names_are_cut_short() -> None:
    others = [vm(f"vm{number}", "4", exclusive=True) for number in range(6)]
    assert "which vm0, vm1, vm2 and 3 more are to have alone" in found(vm(), *others)["floats-over-exclusive"].what


def test_what_differs_now_and_at_the_next_boot() -> None:
    live = {"vCPU 0": "1", "the emulator": "0-7", "the scheduler of vCPU 0": "other"}
    assert not list(drift("web1", next_boot=live, live=live, actual={"vCPU 0": "1"}))
    assert not list(drift("web1", next_boot=None, live=live, actual={}))
    later = {**live, "vCPU 0": "2", "the scheduler of vCPU 0": "fifo:10"}
    [coming, other] = drift("web1", next_boot=later, live=live, actual={"vCPU 0": "3", "the emulator": "0-7"})
    assert coming.code == "next-boot-differs"
    assert coming.what == "the next boot changes vCPU 0 from 1 to 2 and the scheduler of vCPU 0 from other to fifo:10"
    assert coming.hint.startswith("kvmctl restart web1")
    assert other.code == "actual-differs"
    assert other.what == "the kernel has vCPU 0 on 3 instead of 1"


@pytest.mark.parametrize("cpus", ["0", "0-7"])
def test_on_a_host_with_one_cpu_every_pin_is_to_all(cpus: str) -> None:
    one = Topology(
        cpus={0: HostCpu(number=0, node=0, core=0, cache=0)}, nodes={0: NumaNode(number=0, memory=GIB, free=GIB)}
    )
    assert "vcpus-float" not in found(vm("web1", cpus), topology=one)
