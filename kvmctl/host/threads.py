"""The threads and the memory of a QEMU on this machine, as the kernel has them. Asks neither libvirt nor QEMU.

QEMU is found by the file in which libvirt keeps its process id, and known by the VM's UUID on its command line, so that
no other process is ever taken for it: one in another container, or one that got the number of a QEMU that is gone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmctl.host import embedded, machine
from kvmctl.host.machine import ROOT, number_of, text_of
from kvmctl.plan.placement.tuning import Policy

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.spec.kinds import CpuSet

VCPU = re.compile(r"CPU (\d+)/(?:KVM|TCG)")
IOTHREAD = re.compile(r"IO iothread(\d+)")
KERNELS = ("kvm-", "vhost-")
"""Threads that the kernel makes for a QEMU, and that nobody can pin."""
POLICIES = {os.SCHED_OTHER: "other", os.SCHED_BATCH: "batch", os.SCHED_IDLE: "idle", 1: "fifo", 2: "rr"}
"""The kernel's numbers for how it schedules."""
GUEST_FILES = re.compile(r"/memfd:|/dev/shm/|/dev/zero|.*/qemu/ram/")
"""Files that are memory; others that are mapped are programs and libraries."""


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A thread of QEMU. `vcpu` or `iothread` is its number; of QEMU's own threads `main` is the first."""

    tid: int
    name: str
    cpus: CpuSet
    cpu: int
    time: float
    policy: Policy
    vcpu: int | None = None
    iothread: int | None = None
    main: bool = False

    @property
    def helps(self) -> bool:
        """Whether it is one of QEMU's own."""
        return self.vcpu is None and self.iothread is None


def process_of(host: Host, name: str, uuid: str) -> int | None:
    """The process id of a VM's QEMU; None if it is not known from here."""
    if not machine.is_here(host.target):
        return None
    for folder in _folders(host):
        pid = number_of(folder / f"{name}.pid")
        if pid and uuid in (text_of(ROOT / f"proc/{pid}/cmdline") or ""):
            return pid
    return None


def _folders(host: Host) -> Iterator[Path]:
    if host.embedded:
        yield Path(embedded.root_of(host.target), "run", "qemu")
    else:
        yield Path("/run/libvirt/qemu")
        yield Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}"), "libvirt", "qemu", "run")


def threads(pid: int) -> list[Thread]:
    """The threads of a process, without those that end meanwhile, and those that the kernel made."""
    found = []
    with suppress(OSError):
        for entry in sorted((ROOT / f"proc/{pid}/task").iterdir(), key=lambda entry: int(entry.name)):
            with suppress(OSError, IndexError, ValueError):
                found.append(_thread(entry, main=entry.name == str(pid)))
    return [thread for thread in found if not thread.name.startswith(KERNELS)]


def _thread(entry: Path, *, main: bool) -> Thread:
    tid = int(entry.name)
    # The name stands in brackets and may hold anything, also a bracket.
    before, _, after = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    values = after.split()
    name = before.partition("(")[2]
    vcpu, iothread = VCPU.fullmatch(name), IOTHREAD.fullmatch(name)
    policy = POLICIES.get(os.sched_getscheduler(tid) & ~os.SCHED_RESET_ON_FORK, "unknown")
    return Thread(
        tid=tid,
        name=name,
        cpus=frozenset(os.sched_getaffinity(tid)),
        cpu=int(values[36]),
        time=(int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK"),
        policy=Policy(name=policy, priority=os.sched_getparam(tid).sched_priority or None),
        vcpu=int(vcpu[1]) if vcpu else None,
        iothread=int(iothread[1]) if iothread else None,
        main=main,
    )


def move_helpers(pid: int, cpus: CpuSet) -> None:
    """Have QEMU's own threads run on these CPUs. Without cgroups libvirt moves the first of them alone."""
    for thread in threads(pid):
        if thread.helps:
            with suppress(OSError):  # ended meanwhile, or not ours to move
                os.sched_setaffinity(thread.tid, cpus)


def memory_by_node(pid: int, system: Path = ROOT) -> dict[int, int] | None:
    """Bytes of a QEMU's memory on each node, files of programs not counted; None if the kernel does not let us look."""
    text = text_of(system / f"proc/{pid}/numa_maps")
    if text is None:
        return None
    found: dict[int, int] = {}
    for line in text.splitlines():
        words = line.split()
        values = dict(word.split("=", 1) for word in words if "=" in word)
        if "file" in values and not GUEST_FILES.match(values["file"]) and "huge" not in words:
            continue
        page = int(values.get("kernelpagesize_kB", 4)) * 1024
        for key, count in values.items():
            if re.fullmatch(r"N\d+", key):
                found[int(key[1:])] = found.get(int(key[1:]), 0) + int(count) * page
    return dict(sorted(found.items()))
