"""What the machine's own kernel says of a VM: threads, cgroups and memory; and what it counts of huge pages.

All of it is read with one command, since each takes its time there, and none of it comes through kvmctl or libvirt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kvmctl.spec.kinds import parse_cpus
from tests.metal.machine import Machine

SCRIPT = """
read -r pid </run/libvirt/qemu/$1.pid
cat /proc/$pid/numa_maps
grep -H ^Cpus_allowed_list: /proc/$pid/task/*/status
cat /proc/$pid/task/*/stat
IFS=: read -r number controllers place </proc/$pid/cgroup
cd /sys/fs/cgroup$place/../..
grep -r "" --include=cpuset.cpus* --include=cpuset.mems* --include=cpu.weight --include=cpu.max .
"""
PAGES = "/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/{name}_hugepages"
POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle"}
EVERYWHERE = frozenset(range(8))


@dataclass(frozen=True, kw_only=True)
class Thread:
    """Where a thread may run, and its policy with the priority: `fifo:10`."""

    cpus: frozenset[int]
    policy: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """`threads` by the names that QEMU gave them, of several with one name the first; `files` are those of the VM's
    cgroups, by their last names; `maps` the lines of numa_maps.
    """

    threads: Mapping[str, Thread]
    files: Mapping[str, str]
    maps: tuple[str, ...]

    def cpus(self, name: str) -> frozenset[int]:
        return self.threads[name].cpus

    @property
    def own(self) -> dict[str, frozenset[int]]:
        """Where each thread may run, but for those that the kernel made for the VM."""
        return {name: thread.cpus for name, thread in self.threads.items() if not name.startswith("kvm-")}

    def group(self, name: str, what: str = "cpus") -> frozenset[int]:
        """The CPUs that one of the VM's cgroups leaves to its threads, or the nodes: `mems`."""
        return parse_cpus(self.files[f"libvirt/{name}/cpuset.{what}.effective"])

    @property
    def vcpus(self) -> list[frozenset[int]]:
        """Where each vCPU may run, in order; an error if the cgroups say otherwise than the threads."""
        numbers = sorted(int(found[1]) for name in self.threads if (found := re.fullmatch(r"CPU (\d+)/KVM", name)))
        found_cpus = [self.cpus(f"CPU {number}/KVM") for number in numbers]
        assert [self.group(f"vcpu{number}") for number in numbers] == found_cpus
        return found_cpus

    @property
    def emulator(self) -> frozenset[int]:
        """Where QEMU's main thread may run; an error if the cgroup says otherwise."""
        assert self.group("emulator") == self.cpus("qemu-system-x86")
        return self.cpus("qemu-system-x86")

    def bytes_by_node(self, policy: str = "") -> dict[int, int]:
        """How much memory of its own it has on each node; only what is held by this policy, for example `bind:1`."""
        found: dict[int, int] = {}
        for line in self.maps:
            _, held, *values = line.split()
            if not (held.startswith(policy) and re.search(r" (anon=|huge\b)", line)):
                continue  # or it is a program or a library
            size = next((int(value.partition("=")[2]) for value in values if value.startswith("kernelpagesize_kB=")), 4)
            for node, number in re.findall(r" N(\d+)=(\d+)", line):
                found[int(node)] = found.get(int(node), 0) + int(number) * size * 1024
        return found


def look(metal: Machine, vm: str = "web1") -> Seen:
    said = metal.run(["sh", "-c", SCRIPT, "sh", vm]).stdout
    allowed = {
        task: parse_cpus(cpus) for task, cpus in re.findall(r"^/proc/\d+/task/(\d+)/status:\S+\s+(\S+)$", said, re.M)
    }
    threads: dict[str, Thread] = {}
    # proc_pid_stat(5): behind the name, field 40 is the priority in real time and 41 the policy.
    for task, name, rest in re.findall(r"^(\d+) \((.*)\) (\S .*)$", said, re.M):
        fields = rest.split()
        if task not in allowed:
            continue  # it ended meanwhile
        policy = f"{POLICIES[int(fields[38])]}:{fields[37]}"
        threads.setdefault(name, Thread(cpus=allowed[task], policy=policy))
    return Seen(
        threads=threads,
        files=dict(re.findall(r"^\./(\S+?):(.*)$", said, re.M)),
        maps=tuple(re.findall(r"^[0-9a-f]{8,} .*$", said, re.M)),
    )


def pages(metal: Machine, name: str = "nr") -> list[int]:
    """What the kernel counts of pages of 2 MiB on each node."""
    paths = [PAGES.format(node=node, name=name) for node in (0, 1)]
    return [int(line) for line in metal.run(["cat", *paths]).stdout.split()]
