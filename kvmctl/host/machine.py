"""What this machine's kernel and file system say about it as a host. Reads /proc, /sys and $PATH, and no libvirt.

Everything is read below `system`, which is / but for tests. What cannot be read is None.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kvmctl.plan.check_facts import Node, Pages
from kvmctl.plan.packages import COMMANDS
from kvmctl.spec.kinds import parse_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmctl.host.targets import Target

ROOT = Path("/")
KVM_MODULES = ("kvm_intel", "kvm_amd", "kvm")


def is_local(target: Target) -> bool:
    """True if the host is this machine: its URI names no other."""
    return target.uri.partition("://")[2].startswith("/")


def is_here(target: Target) -> bool:
    """Whether our own eyes see what its libvirt sees. Another socket may be that of a container or another host."""
    return (target.embedded or "?" not in target.uri) and is_local(target) and target.uri.startswith("qemu")


def text_of(path: Path) -> str | None:
    """A small file's text, without the line's end."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number_of(path: Path) -> int | None:
    with suppress(ValueError):
        return int(text_of(path) or "")
    return None


def local_flags(system: Path = ROOT) -> frozenset[str]:
    """The CPU's flags as this kernel sees them; none where they cannot be read."""
    lines = (text_of(system / "proc/cpuinfo") or "").splitlines()
    found = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "features")))
    return frozenset(next(found, []))


def kvm_device(system: Path = ROOT) -> tuple[bool, bool]:
    """Whether /dev/kvm is there, and whether it opens for us."""
    path = system / "dev/kvm"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return False, False
    except OSError:
        return True, False
    return True, True


def nested(system: Path = ROOT) -> bool | None:
    """Whether guests can run VMs of their own."""
    for module in KVM_MODULES:
        said = text_of(system / "sys/module" / module / "parameters/nested")
        if said is not None:
            return said in ("1", "Y", "y")
    return None


def iommu_groups(system: Path = ROOT) -> int:
    try:
        return len(list((system / "sys/kernel/iommu_groups").iterdir()))
    except OSError:
        return 0


def iommu_table(system: Path = ROOT) -> bool:
    """Whether the firmware tells of an IOMMU, used or not."""
    tables = system / "sys/firmware/acpi/tables"
    return any((tables / name).exists() for name in ("DMAR", "IVRS", "IORT"))


def hugepages(system: Path = ROOT) -> tuple[Pages, ...]:
    """The sizes that the kernel has, and how many of each are reserved."""
    found = []
    for place in (system / "sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        size = int(place.name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        total, free = number_of(place / "nr_hugepages"), number_of(place / "free_hugepages")
        found.append(Pages(size=size, total=total or 0, free=free))
    return tuple(sorted(found, key=lambda pages: pages.size))


def hugepages_mounted(system: Path = ROOT) -> bool:
    mounts = text_of(system / "proc/mounts") or ""
    return any(line.split()[2:3] == ["hugetlbfs"] for line in mounts.splitlines())


def nodes(system: Path = ROOT) -> tuple[Node, ...]:
    """The NUMA nodes."""
    found = []
    for place in (system / "sys/devices/system/node").glob("node[0-9]*"):
        memory = 0
        for line in (text_of(place / "meminfo") or "").splitlines():
            if "MemTotal:" in line:
                memory = int(line.split()[-2]) * 1024
        number = int(place.name.removeprefix("node"))
        found.append(Node(number=number, memory=memory, cpus=text_of(place / "cpulist") or ""))
    return tuple(sorted(found, key=lambda node: node.number))


def isolated_cpus(system: Path = ROOT) -> frozenset[int] | None:
    """CPUs that the scheduler leaves alone: by the kernel's command line, or by a cgroup."""
    places = (system / "sys/devices/system/cpu/isolated", system / "sys/fs/cgroup/cpuset.cpus.isolated")
    told = [text for text in map(text_of, places) if text is not None]
    return frozenset().union(*(parse_cpus(text) for text in told if text)) if told else None


def nodes_of_cpus(cpus: Iterable[int], system: Path = ROOT) -> dict[int, int]:
    """The NUMA nodes of CPUs, also of those that are offline."""
    found = {}
    for number in cpus:
        for node in (system / f"sys/devices/system/cpu/cpu{number}").glob("node[0-9]*"):
            found[number] = int(node.name.removeprefix("node"))
    return found


def default_hugepage(system: Path = ROOT) -> int | None:
    """The size of huge page that this kernel gives where none is named."""
    for line in (text_of(system / "proc/meminfo") or "").splitlines():
        if line.startswith("Hugepagesize:"):
            return int(line.split()[1]) * 1024
    return None


def memory(system: Path = ROOT) -> tuple[int | None, int | None]:
    """Total and available memory in bytes."""
    values = {}
    for line in (text_of(system / "proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        with suppress(ValueError, IndexError):
            values[name] = int(rest.split()[0]) * 1024
    return values.get("MemTotal"), values.get("MemAvailable")


def space(place: str) -> tuple[int | None, int | None]:
    """Total and free bytes of the file system that a directory is, or would be, on."""
    path = Path(place)
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None, None
    return usage.total, usage.free


def program(name: str) -> bool:
    """Whether a program is installed, also where only root's $PATH has it."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
    return shutil.which(name, path=path) is not None


def package_manager() -> str:
    """The program that installs packages here; empty if it is none that we know."""
    return next((name for name in COMMANDS if shutil.which(name)), "")
