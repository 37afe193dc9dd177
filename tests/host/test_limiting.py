"""Shares, quota and schedulers of a running VM."""

from __future__ import annotations

import os
from typing import Any

import libvirt
import pytest

from kvmctl.errors import KvmctlError, Refused
from kvmctl.host import limiting
from kvmctl.host.limiting import limit, schedule
from kvmctl.host.undoing import Undo
from kvmctl.plan.placement.tuning import OTHER, Policy, Schedulers
from tests.host.pinned import LIVE, Domain, host
from tests.host.test_pinning import UNABLE
from tests.host.test_threads import thread

BATCH, IDLE = Policy(name="batch"), Policy(name="idle")
BEFORE = {"shares": 200, "global_period": None, "global_quota": None}
CALL = "setSchedulerParametersFlags"


def limited(domain: Domain, numbers: dict[str, int | None], **more: Any) -> list[str]:
    known: dict[str, Any] = {"cgroups": 2, "config": True, "undo": Undo("web1"), **more}
    return list(limit(domain, numbers, BEFORE, **known))


def test_numbers_are_set_together() -> None:
    domain = Domain()
    assert limited(domain, {"shares": 7, "global_period": 50_000, "global_quota": 25_000}) == []
    assert domain.calls == [(CALL, LIVE, {"cpu_shares": 7, "global_period": 50_000, "global_quota": 25_000})]
    assert limited(domain, {}) == []
    assert len(domain.calls) == 1


def test_a_limit_is_taken_away_by_the_kernel_s_own_value() -> None:
    domain = Domain()
    assert limited(domain, {"shares": None, "global_period": None, "global_quota": None}) == []
    assert domain.calls[0][2] == {"cpu_shares": 100, "global_period": 100_000, "global_quota": -1}
    limited(domain, {"shares": None}, cgroups=1)
    assert domain.calls[1][2] == {"cpu_shares": 1024}


def test_what_a_vm_without_shares_has_may_be_unknown() -> None:
    domain = Domain()
    said = limited(domain, {"shares": None}, cgroups=None)
    assert said == ["shares: at the next boot and not now, because what a VM without has is not known from here"]
    assert domain.calls == []
    with pytest.raises(Refused):
        limited(domain, {"shares": None}, cgroups=None, config=False)


def test_numbers_are_undone() -> None:
    domain = Domain()

    def fails() -> None:
        with Undo("web1") as undo:
            limited(domain, {"shares": 7, "global_quota": 5_000}, undo=undo)
            raise KvmctlError("libvirt-failed", "no")

    with pytest.raises(KvmctlError, match="no"):
        fails()
    assert domain.calls[1] == (CALL, LIVE, {"cpu_shares": 200, "global_quota": -1})


def test_without_cgroups() -> None:
    domain = Domain()
    domain.refuse[CALL] = UNABLE
    assert limited(domain, {"shares": 7}) == [
        "shares: at the next boot and not now, because cgroup cpuset is not mounted"
    ]
    assert limited(domain, {"global_quota": None}) == []
    with pytest.raises(Refused) as caught:
        limited(domain, {"global_quota": 5_000})
    assert "would not start with one: cgroup cpuset is not mounted" in caught.value.message
    calls = len(domain.calls)
    assert limited(domain, {"shares": 7}, cgroups=0) == []
    assert len(domain.calls) == calls


def test_another_failure_is_told() -> None:
    domain = Domain()
    problem = domain.refuse[CALL] = libvirt.libvirtError("no")
    with pytest.raises(libvirt.libvirtError) as caught:
        limited(domain, {"shares": 7})
    assert caught.value is problem


# -- schedulers: this test's own threads stand for those of QEMU --------------------------------------


def scheduled(wanted: Schedulers, *, config: bool = True, undo: Undo | None = None) -> list[str]:
    domain = Domain()
    return list(schedule(host(domain), domain, wanted, config=config, undo=undo or Undo("web1")))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiting, "process_of", lambda host, name, uuid: os.getpid())


@pytest.mark.usefixtures("here")
def test_threads_get_their_policies() -> None:
    with thread("CPU 0/KVM") as vcpu, thread("CPU 1/KVM") as other, thread("IO iothread2") as io:
        wanted = Schedulers(vcpus={0: BATCH, 9: BATCH}, iothreads={2: IDLE})
        assert scheduled(wanted) == []
        assert [os.sched_getscheduler(tid) for tid in (vcpu, other, io)] == [os.SCHED_BATCH, 0, os.SCHED_IDLE]
        scheduled(Schedulers(vcpus={0: OTHER}))
        assert os.sched_getscheduler(vcpu) == os.SCHED_OTHER


@pytest.mark.usefixtures("here")
def test_of_qemu_s_own_threads_the_first_is_meant() -> None:
    with thread("worker") as worker:
        scheduled(Schedulers(emulator=BATCH))
        try:
            assert (os.sched_getscheduler(os.getpid()), os.sched_getscheduler(worker)) == (os.SCHED_BATCH, 0)
        finally:
            scheduled(Schedulers(emulator=OTHER))


@pytest.mark.usefixtures("here")
def test_policies_are_undone() -> None:
    def fails() -> None:
        with Undo("web1") as undo:
            scheduled(Schedulers(vcpus={0: IDLE}), undo=undo)
            raise KvmctlError("libvirt-failed", "no")

    with thread("CPU 0/KVM") as vcpu:
        scheduled(Schedulers(vcpus={0: BATCH}))
        with pytest.raises(KvmctlError, match="no"):
            fails()
        assert os.sched_getscheduler(vcpu) == os.SCHED_BATCH


@pytest.mark.usefixtures("here")
def test_without_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with thread("CPU 0/KVM"):
        wanted = Schedulers(vcpus={0: Policy(name="fifo", priority=10)})
        assert scheduled(wanted) == ["the scheduler: at the next boot and not now, because only root may do that"]
        with pytest.raises(Refused):
            scheduled(wanted, config=False)


def test_on_another_machine() -> None:
    [said] = scheduled(Schedulers(vcpus={0: BATCH}))
    assert said.startswith("the scheduler: at the next boot and not now, because only kvmctl on the host itself can")
    assert scheduled(Schedulers()) == []
