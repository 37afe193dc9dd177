"""What is measured before a migration, on real guests: their writing, their memory, and the cable."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import libvirt
import pytest

from kvmctl.host.connection import Host as Connected
from kvmctl.host.migration import dirty, link
from kvmctl.host.migration import measure as measuring
from kvmctl.host.migration.measure import measure
from kvmctl.host.targets import Target
from kvmctl.parallel import Work
from kvmctl.plan.migration.looked import Looked
from tests.lab.cable import shaped
from tests.lab.hosts import Host
from tests.lab.load import LOADS, MIB, boot
from tests.lab.waiting import LIMIT

LONGEST = 60
"""Seconds that QEMU can count."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine things come late, and are not given up here."""
    monkeypatch.setattr(dirty, "LATE_SECONDS", LIMIT)
    for module in (dirty, measuring):
        monkeypatch.setattr(module, "ASK_SECONDS", LIMIT)
    for name in ("FAR_SECONDS", "CALL_SECONDS"):
        monkeypatch.setattr(link, name, LIMIT)


@pytest.fixture
def work() -> Work:
    return Work(LIMIT, threading.Event())


@pytest.fixture
def here(host1: Host) -> Iterator[Connected]:
    connection = libvirt.open(host1.outside_uri)
    yield Connected(Target(name="host1", uri=host1.outside_uri), connection, events=False)
    connection.close()


def looked(host2: Host, memory: int, *, running: bool = True, reaches: bool = True) -> Looked:
    return Looked(findings=(), memory=memory, running=running, peer_uri=host2.uri if reaches else None)


def test_a_busy_guest(host1: Host, host2: Host, here: Connected, work: Work) -> None:
    domain = boot(here.conn, host1.images, "busy", LOADS["mid"])
    with shaped((host1, host2), "100mbit"):
        seen = measure(here, here, domain, looked(host2, LOADS["mid"].memory), work=work, seconds=2.4)
    assert seen.memory == 512 * MIB
    assert seen.used is not None
    assert abs(seen.used - LOADS["mid"].touched) < 32 * MIB
    assert seen.working_set is not None
    assert 4 * MIB < seen.working_set < 120 * MIB  # it writes less than 64 MiB where it does not run all the time
    assert seen.dirty_rate == seen.working_set // 2
    assert seen.link is not None
    assert seen.link < 60_000_000
    assert not host2.qemus()  # nothing was begun there
    assert domain.isActive()


def test_an_idle_guest_writes_nothing(host1: Host, here: Connected, work: Work) -> None:
    domain = boot(here.conn, host1.images, "idle", LOADS["idle"])
    count = dirty.begin(domain, 1, work)
    assert count is not None
    assert count.written(work) == 0


def test_what_cannot_be_told(host1: Host, host2: Host, here: Connected, work: Work) -> None:
    domain = boot(here.conn, host1.images, "idle", LOADS["idle"])
    first = dirty.begin(domain, 1, work)
    assert first is not None
    assert link.probe(domain, "qemu+tcp://10.77.0.9/system", work=work, seconds=0.1) is None
    seen = measure(here, here, domain, looked(host2, 512 * MIB, reaches=False), work=work, seconds=1.0, count=first)
    assert (seen.link, seen.dirty_rate) == (None, 0)
    assert dirty.begin(domain, LONGEST, work) is not None
    assert dirty.begin(domain, 1, work) is None  # QEMU counts already
    domain.destroy()
    off = measure(here, here, domain, looked(host2, 512 * MIB, running=False), work=work, seconds=1.0)
    assert (off.memory, off.used, off.dirty_rate, off.link) == (512 * MIB, None, None, None)
    gone = measure(here, here, domain, looked(host2, 512 * MIB), work=work, seconds=1.0)
    assert (gone.used, gone.dirty_rate, gone.link) == (None, None, None)
