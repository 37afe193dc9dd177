"""The threads and the memory of a process as the kernel has them: this test's own, and files like those in /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvmctl.host import threads as module
from kvmctl.host.actual import look
from kvmctl.host.connection import Host
from kvmctl.host.targets import Target
from kvmctl.host.threads import memory_by_node, move_helpers, process_of, threads
from kvmctl.plan.placement.tuning import Policy
from tests.host.pinned import Domain
from tests.host.pinned import host as remote

MAPS = """\
55d000 default heap anon=10 dirty=10 N0=8 N1=2 kernelpagesize_kB=4
7f0001 default file=/usr/lib/libc.so.6 mapped=100 N1=100 kernelpagesize_kB=4
7f0002 bind:1 file=/memfd:pc.ram\\040(deleted) dirty=5 N1=5 kernelpagesize_kB=4
7f0003 default file=/dev/hugepages/libvirt/qemu/1-web1/x huge dirty=2 N0=2 kernelpagesize_kB=2048
7f0004 default file=/var/lib/libvirt/qemu/ram/1-web1/pc.ram dirty=1 N0=1 kernelpagesize_kB=4
7f0005 default stack
"""


@contextmanager
def thread(name: str) -> Iterator[int]:
    """A thread of this process with a name as QEMU gives it; its id."""
    ready, done = threading.Event(), threading.Event()
    found: list[int] = []

    def run() -> None:
        found.append(threading.get_native_id())
        Path(f"/proc/self/task/{found[0]}/comm").write_text(name)
        ready.set()
        done.wait(60)

    running = threading.Thread(target=run)
    running.start()
    ready.wait(60)
    try:
        yield found[0]
    finally:
        done.set()
        running.join(60)


def test_threads_are_known_by_their_names() -> None:
    with (
        thread("CPU 12/KVM") as vcpu,
        thread("IO iothread3") as io,
        thread("kvm-nx-lpage") as kernel,
        thread("a) b") as own,
    ):
        os.sched_setaffinity(vcpu, {0})
        os.sched_setscheduler(vcpu, os.SCHED_BATCH, os.sched_param(0))
        known = {thread.tid: thread for thread in threads(os.getpid())}
    assert kernel not in known
    assert (known[vcpu].vcpu, known[vcpu].iothread, known[vcpu].helps) == (12, None, False)
    assert (known[vcpu].cpus, known[vcpu].policy) == (frozenset({0}), Policy(name="batch"))
    assert (known[io].vcpu, known[io].iothread, known[io].helps) == (None, 3, False)
    assert (known[own].name, known[own].helps, known[own].main) == ("a) b", True, False)
    main = known[os.getpid()]
    assert (main.main, main.helps, main.policy) == (True, True, Policy(name="other"))
    assert main.cpus == os.sched_getaffinity(0)
    assert main.cpu in range(os.cpu_count() or 1)
    assert main.time > 0


def test_a_process_that_is_gone_has_none() -> None:
    assert threads(2**22 + 1) == []


def test_helpers_are_moved_and_vcpus_are_not() -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("needs two CPUs")
    with thread("CPU 0/TCG") as vcpu, thread("worker") as worker:
        os.sched_setaffinity(worker, before)
        try:
            move_helpers(os.getpid(), frozenset({min(before)}))
            assert os.sched_getaffinity(worker) == os.sched_getaffinity(os.getpid()) == {min(before)}
            assert os.sched_getaffinity(vcpu) == before
        finally:
            move_helpers(os.getpid(), frozenset(before))
    assert os.sched_getaffinity(0) == before


def test_memory_by_node(tmp_path: Path) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/numa_maps").write_text(MAPS)
    assert memory_by_node(7, tmp_path) == {0: 9 * 4096 + 2 * 2**21, 1: 7 * 4096}
    assert memory_by_node(8, tmp_path) is None


def test_the_process_of_a_vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = Host(Target("embedded", f"qemu:///embed?root={tmp_path}"), None, events=False)
    (tmp_path / "run/qemu").mkdir(parents=True)
    assert process_of(embedded, "web1", "u-1") is None
    (tmp_path / "run/qemu/web1.pid").write_text("7\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cmdline").write_bytes(b"qemu\0-uuid\0u-1\0")
    assert process_of(embedded, "web1", "u-1") == 7
    assert process_of(embedded, "web1", "u-2") is None, "the number of another process"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "libvirt/qemu/run").mkdir(parents=True)
    (tmp_path / "libvirt/qemu/run/web9.pid").write_text("7\n")
    session = Host(Target("session", "qemu:///session"), None, events=False)
    assert process_of(session, "web9", "u-1") == 7
    for uri in ("qemu+ssh://host2/system", "test:///default"):
        assert process_of(Host(Target("x", uri), None, events=False), "web9", "u-1") is None


def test_a_vm_on_another_machine_is_known_by_what_libvirt_tells() -> None:
    class Told(Domain):
        def vcpus(self) -> tuple[list[tuple[int, int, int, int]], list[tuple[bool, ...]]]:
            return [(0, 1, 2_500_000_000, 3), (1, 1, 0, -1)], [(False, True), (True, True)]

        def ioThreadInfo(self, flag: int) -> list[tuple[int, list[bool]]]:  # noqa: N802 - libvirt's name
            return [(1, [True, False])]

    domain = Told()
    kernel = look(remote(domain), domain, True)
    assert (kernel.seen, kernel.memory, kernel.own) == (False, None, ())
    first, second, io = (kernel.threads[name] for name in (("vcpu", 0), ("vcpu", 1), ("iothread", 1)))
    assert (first.cpus, first.cpu, first.time, first.policy) == (frozenset({1}), 3, 2.5, None)
    assert (second.cpu, io.cpus) == (None, frozenset({0}))
    assert ("iothread", 1) not in look(remote(domain), domain, False).threads
