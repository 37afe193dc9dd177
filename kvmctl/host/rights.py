"""What the libvirt of a host may do there: real-time priorities, cgroups. Reads this machine's kernel; asks no libvirt.

Of another host only that is known which its URI says.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

from kvmctl.host import machine
from kvmctl.host.machine import ROOT, number_of, text_of
from kvmctl.plan.placement.change import Rights

if TYPE_CHECKING:
    from kvmctl.host.targets import Target

DAEMONS = ("libvirtd", "virtqemud")
SYS_NICE = 1 << 23
"""The bit of CAP_SYS_NICE among a process's capabilities."""


def rights(target: Target, system: Path = ROOT) -> Rights:
    """The rights of the daemon; or our own, with which QEMU is started on the embedded host and in a session."""
    if target.embedded or target.uri.partition("?")[0].endswith("/session"):
        limit, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
        return Rights(privileged=_may_nice("self", system) or limit != 0, cgroups=0)
    if not machine.is_here(target):
        return Rights()
    found = (number_of(system / f"run/{name}.pid") for name in DAEMONS)
    daemon = next((pid for pid in found if pid), None)
    return Rights(privileged=daemon is None or _may_nice(str(daemon), system), cgroups=cgroups(system))


def cgroups(system: Path = ROOT) -> int:
    """The version of the cgroups for CPU time; 0 if there are none."""
    place = system / "sys/fs/cgroup"
    if "cpu" in (text_of(place / "cgroup.controllers") or "").split():
        return 2
    return 1 if (place / "cpu/cpu.shares").exists() else 0


def _may_nice(process: str, system: Path) -> bool:
    """Whether a process may give threads real-time priorities; yes if that cannot be seen."""
    for line in (text_of(system / f"proc/{process}/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & SYS_NICE)
    return True
