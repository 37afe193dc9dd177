"""What `pin set` asks for comes to for one VM, and what speaks against it."""

from __future__ import annotations

from typing import Any

import pytest

from kvmctl.plan.objection import ERROR, Objection
from kvmctl.plan.placement.change import Change, Rights, Settled, objections, settle
from kvmctl.plan.placement.pins import Pins, pins_of
from kvmctl.plan.placement.tuning import Policy, schedulers_of, tuning_of
from kvmctl.plan.topology import Tenant
from kvmctl.spec.xmltext import parse
from tests.plan.placement.test_verdict import host, vm

FIFO = Policy(name="fifo", priority=10)
XML = """
<domain type='kvm'><name>web1</name><memory unit='MiB'>256</memory><vcpu current='2'>4</vcpu>
<iothreads>2</iothreads>{more}</domain>
"""


def cpus(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def settled(change: Change, more: str = "") -> Settled:
    return settle(change, parse(XML.format(more=more)))


def against(change: Change, more: str = "", *others: Tenant, **facts: Any) -> dict[str, Objection]:
    """By code."""
    document = parse(XML.format(more=more))
    known = {"topology": host(offline="7"), "rights": Rights(cgroups=2), **facts}
    found = objections(settle(change, document), document, others=others, **known)
    assert [each.level for each in found] == sorted(each.level for each in found), "errors come first"
    return {each.code: each for each in found}


def test_a_policy_is_for_all_vcpus_or_those_named() -> None:
    assert set(settled(Change(policy=FIFO)).schedulers.vcpus) == {0, 1, 2, 3}
    some = settled(Change(policy=FIFO, policy_vcpus=cpus(1)))
    assert (some.schedulers.vcpus, some.schedulers.iothreads) == ({1: FIFO}, {})
    threads = settled(Change(policy=FIFO, policy_iothreads=cpus(2)))
    assert (threads.schedulers.vcpus, threads.schedulers.iothreads) == ({}, {2: FIFO})
    assert not settled(Change(policy_vcpus=cpus(1))).schedulers


QUOTA = "<cputune><global_period>50000</global_period><global_quota>50000</global_quota></cputune>"


@pytest.mark.parametrize(
    ("limits", "more", "numbers"),
    [
        ({"shares": 7}, "", {"shares": 7}),
        ({"shares": None}, QUOTA, {"shares": None}),
        ({"quota": 150}, "", {"global_period": 100_000, "global_quota": 150_000}),
        ({"quota": 150}, QUOTA, {"global_period": 50_000, "global_quota": 75_000}),
        ({"period": 20_000}, QUOTA, {"global_period": 20_000, "global_quota": 20_000}),
        ({"period": None}, QUOTA, {"global_period": 100_000, "global_quota": 100_000}),
        ({"quota": 50, "period": 10_000}, "", {"global_period": 10_000, "global_quota": 5_000}),
        ({"quota": None}, QUOTA, {"global_period": None, "global_quota": None}),
        ({"period": 10_000}, "", {"global_period": 10_000, "global_quota": None}),
    ],
)
def test_a_quota_goes_with_its_period(limits: dict[str, int | None], more: str, numbers: dict[str, Any]) -> None:
    assert settled(Change(limits=limits), more).numbers == numbers


def test_it_is_written_and_shown() -> None:
    change = Change(
        pins=Pins(vcpus={0: cpus(4)}, emulator=cpus(0, 1), iothreads={1: cpus(2)}, nodes=cpus(0), mode="preferred"),
        policy=FIFO,
        policy_vcpus=cpus(0),
        policy_iothreads=cpus(1),
        emulator_policy=Policy(name="batch"),
        limits={"shares": 5, "quota": 50},
    )
    wanted = settled(change)
    document = parse(XML.format(more=""))
    wanted.write(document)
    assert pins_of(document) == change.pins
    assert (tuning_of(document).shares, tuning_of(document).quota) == (5, 50)
    assert schedulers_of(document).emulator == Policy(name="batch")
    assert wanted.as_dict() == {
        "vcpus": {"0": "4"},
        "emulator": "0-1",
        "iothreads": {"1": "2"},
        "nodes": "0",
        "mode": "preferred",
        "vcpu_schedulers": {"0": "fifo:10"},
        "emulator_scheduler": "batch",
        "iothread_schedulers": {"1": "fifo:10"},
        "shares": 5,
        "quota": 50,
        "period_us": 100_000,
    }
    assert settled(Change(limits={"shares": None, "quota": None})).as_dict() == {
        "shares": None,
        "quota": None,
        "period_us": None,
    }


def test_everything_impossible_is_said_at_once() -> None:
    wrong = Change(
        pins=Pins(vcpus={9: cpus(0), 1: cpus(8), 0: cpus(7)}, iothreads={3: cpus(1)}, nodes=cpus(5)),
        limits={"shares": 20_000, "quota": 1, "period": 1_000},
    )
    said = against(wrong)
    assert {code: str(each) for code, each in said.items() if each.level == ERROR} == {
        "no-such-vcpu": "vcpu: 9 is not there; it has 0-3",
        "no-such-iothread": "iothread: 3 is not there; it has 1-2",
        "no-such-cpu": "vCPU 1: the host has no CPU 8; it has 0-7",
        "cpu-offline": "vCPU 0: CPU 7 is offline",
        "no-such-node": "nodes: the host has no NUMA node 5; it has 0-1",
        "shares-out-of-range": "shares: 20000 is not between 1 and 10000, which this host's cgroups take",
        "quota-too-small": "quota: it leaves 10 microseconds in each period, and libvirt wants 1000 or more",
    }
    assert all(each.hint for each in said.values() if each.level == ERROR)
    assert against(Change(policy=FIFO, policy_vcpus=cpus(7)))["no-such-vcpu"].path == "vcpu"


def test_what_a_vm_without_iothreads_is_told() -> None:
    document = parse("<domain><name>web1</name><vcpu>1</vcpu></domain>")
    wanted = settle(Change(pins=Pins(iothreads={1: cpus(0)})), document)
    [objection] = objections(wanted, document, topology=host(), others=(), rights=Rights())
    assert str(objection) == "iothread: 1 is not there; it has none"


@pytest.mark.parametrize(
    ("version", "shares", "right"), [(2, 1, True), (1, 1, False), (1, 20_000, True), (None, 1, True)]
)
def test_shares_depend_on_the_version_of_cgroups(version: int | None, shares: int, right: bool) -> None:
    said = against(Change(limits={"shares": shares}), rights=Rights(cgroups=version))
    assert ("shares-out-of-range" not in said) == right


def test_a_period_needs_a_quota() -> None:
    assert "period-without-quota" in against(Change(limits={"period": 10_000}))
    assert "period-without-quota" not in against(Change(limits={"period": 10_000}), QUOTA)


def test_without_cgroups_and_rights() -> None:
    said = against(Change(policy=FIFO, limits={"quota": 50, "shares": 5}), rights=Rights(privileged=False, cgroups=0))
    assert (said["no-realtime-right"].path, said["no-realtime-right"].level) == ("scheduler", ERROR)
    shares = against(Change(limits={"shares": 5}), rights=Rights(cgroups=0))["no-cgroups"]
    assert (shares.level, str(shares)) == (
        "note",
        "shares have no effect without cgroups, which libvirt does not have on this host",
    )
    quota = against(Change(limits={"quota": 50}), rights=Rights(cgroups=0))["no-cgroups"]
    assert (quota.path, quota.level) == ("quota", ERROR)
    emulator = against(Change(emulator_policy=FIFO), rights=Rights(privileged=False))
    assert emulator["no-realtime-right"].level == ERROR
    assert (
        against(
            Change(policy=Policy(name="batch"), emulator_policy=Policy(name="idle")), rights=Rights(privileged=False)
        )
        == {}
    )


def test_cpus_that_another_vm_has_alone() -> None:
    other = vm("web2", "4", exclusive=True, whole_cores=True)
    wish = Change(pins=Pins(vcpus={0: cpus(5)}, emulator=cpus(0)))
    said = against(wish, "", other)
    assert str(said["cpus-exclusive"]) == "vCPU 0: CPU 5 belongs to web2 alone"
    assert said["cpus-exclusive"].hint == "choose others, which kvmctl host topology shows, or --force"
    assert against(wish, "", other, force=True) == {}


def test_what_was_wrong_before_is_not_said_again() -> None:
    before = "<cputune><vcpupin vcpu='0' cpuset='9'/></cputune>"
    assert against(Change(pins=Pins(emulator=cpus(0))), before) == {}
    assert "no-such-cpu" in against(Change(pins=Pins(vcpus={1: cpus(9)})), before)


def test_a_quota_that_limits_nothing_is_said() -> None:
    said = against(Change(limits={"quota": 900}))["quota-without-effect"]
    assert (said.level, str(said)) == ("note", "quota: 900% limits nothing, its 7 threads can use 700% at most")
    assert against(Change(limits={"shares": 9}), QUOTA.replace("50000</global_q", "500000</global_q")) == {}
