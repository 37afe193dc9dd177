"""What this machine says of itself, read from a tree made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmctl.host import machine
from kvmctl.host.targets import Target
from kvmctl.plan.check_facts import Node, Pages


def write(system: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = system / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return system


def test_a_machine_is_read(tmp_path: Path) -> None:
    pages = "sys/kernel/mm/hugepages/hugepages"
    system = write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu vmx sse\n\nprocessor\t: 1\nflags\t\t: fpu\n",
            "proc/meminfo": "MemTotal:        2048 kB\nMemFree:   1 kB\nMemAvailable:    1024 kB\nHugePages_Total: 4\n",
            "proc/mounts": "proc /proc proc rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw 0 0\n",
            "sys/module/kvm_intel/parameters/nested": "Y\n",
            "sys/kernel/iommu_groups/0/x": "",
            "sys/kernel/iommu_groups/1/x": "",
            "sys/firmware/acpi/tables/DMAR": "",
            f"{pages}-2048kB/nr_hugepages": "512\n",
            f"{pages}-2048kB/free_hugepages": "500\n",
            f"{pages}-1048576kB/nr_hugepages": "0\n",
            f"{pages}-1048576kB/free_hugepages": "0\n",
            "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       4096 kB\n",
            "sys/devices/system/node/node0/cpulist": "0-3\n",
            "sys/devices/system/node/node10/meminfo": "Node 10 MemTotal:       0 kB\n",
            "sys/devices/system/node/node10/cpulist": "\n",
            "dev/kvm": "",
        },
    )
    assert machine.local_flags(system) == {"fpu", "vmx", "sse"}
    assert machine.memory(system) == (2048 * 1024, 1024 * 1024)
    assert machine.hugepages_mounted(system)
    assert machine.nested(system) is True
    assert (machine.iommu_groups(system), machine.iommu_table(system)) == (2, True)
    assert machine.hugepages(system) == (
        Pages(size=2 * 1024**2, total=512, free=500),
        Pages(size=1024**3, total=0, free=0),
    )
    assert machine.nodes(system) == (
        Node(number=0, memory=4096 * 1024, cpus="0-3"),
        Node(number=10, memory=0, cpus=""),
    )
    assert machine.kvm_device(system) == (True, True)


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    assert machine.local_flags(tmp_path) == frozenset()
    assert machine.memory(tmp_path) == (None, None)
    assert not machine.hugepages_mounted(tmp_path)
    assert machine.nested(tmp_path) is None
    assert (machine.iommu_groups(tmp_path), machine.iommu_table(tmp_path)) == (0, False)
    assert machine.hugepages(tmp_path) == ()
    assert machine.nodes(tmp_path) == ()
    assert machine.kvm_device(tmp_path) == (False, False)


def test_room_is_that_of_the_nearest_directory_there_is(tmp_path: Path) -> None:
    total, free = machine.space(str(tmp_path / "not" / "yet" / "there"))
    assert (total, free) == machine.space(str(tmp_path))
    assert total
    assert free is not None


def test_root_s_programs_are_found_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not machine.program("kvmctl-no-such-program")
    (tmp_path / "thing").touch(mode=0o755)
    assert machine.program("thing")


@pytest.mark.parametrize(
    ("uri", "local", "here"),
    [
        ("qemu:///system", True, True),
        ("qemu+unix:///system?socket=/x", True, False),
        ("qemu:///embed?root=/x", True, True),
        ("test:///default", True, False),
        ("qemu+ssh://root@host2/system", False, False),
        ("qemu+tcp://10.0.0.1/system", False, False),
    ],
)
def test_which_hosts_are_this_machine(uri: str, local: bool, here: bool) -> None:
    assert machine.is_local(Target("x", uri)) is local
    assert machine.is_here(Target("x", uri)) is here
