"""Stopping a move: slowed down first, once, not before it has begun and not when it is nearly over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmctl.host.library import libvirt
from kvmctl.host.migration import stopping as module
from kvmctl.host.migration.stopping import Stopping, stop_in_time

MIB = 1 << 20


class Domain:
    """A VM that moves: `left` bytes of memory are to go."""

    def __init__(self, left: int, *, total: int = 64 * MIB, disk: int = 0) -> None:
        self.left, self.total, self.disk = left, total, disk
        self.calls: list[str] = []

    def jobStats(self) -> dict[str, Any]:  # noqa: N802 - libvirt's name
        return {"type": 2, "memory_total": self.total, "memory_remaining": self.left, "disk_total": self.disk}

    def state(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_RUNNING, 1]

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            self.calls.append(name)
            return 0

        return call


def steer(call: Callable[[], object]) -> bool:
    call()
    return True


def stopping(domain: Domain) -> Stopping:
    return Stopping(domain, steer, lambda: domain.calls.append("noted"))


BRAKE = ["migrateSetMaxSpeed", "migrateSetMaxDowntime"]


def test_a_move_is_slowed_down_and_stopped_once() -> None:
    domain = Domain(10 * MIB)
    halt = stopping(domain)
    for _ in range(3):
        halt("precopy")
    assert domain.calls == [*BRAKE, "abortJob"]


def test_what_has_not_begun_is_stopped_when_it_has() -> None:
    domain = Domain(0, total=0)
    halt = stopping(domain)
    halt("preparing")
    assert domain.calls == []
    domain.left, domain.total = 10 * MIB, 64 * MIB
    halt("precopy")
    assert domain.calls == [*BRAKE, "abortJob"]


def test_disks_alone_need_no_brake() -> None:
    domain = Domain(0, total=0, disk=10 * MIB)
    stopping(domain)("disks")
    assert domain.calls == ["abortJob"]


def test_what_is_nearly_over_gets_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(1000)
    halt = stopping(domain)
    halt("precopy")
    halt("finishing")
    assert "abortJob" not in domain.calls
    monkeypatch.setattr(module, "NEARLY_OVER_SECONDS", 0.0)
    halt("finishing")
    assert domain.calls[-1] == "abortJob"


def test_a_call_that_does_not_come_back_is_nudged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held is noted first, and not let run: that is for who settles."""
    monkeypatch.setattr(module, "NUDGE_SECONDS", 0.0)
    domain = Domain(10 * MIB)
    halt = stopping(domain)
    for _ in range(3):
        halt("precopy")
    assert domain.calls == [*BRAKE, "abortJob", "noted", "suspend"]


def test_post_copy_is_paused_and_never_nudged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUDGE_SECONDS", 0.0)
    domain = Domain(10 * MIB)
    halt = stopping(domain)
    for _ in range(3):
        halt("postcopy")
    assert domain.calls == ["abortJobFlags"]


def test_from_elsewhere_it_is_waited_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEARLY_OVER_SECONDS", 0.05)
    monkeypatch.setattr(module, "BEAT", 0.01)
    domain = Domain(1000)
    stop_in_time(domain)
    assert domain.calls.count("abortJob") == 1
    assert len(domain.calls) > 3
