"""What a host is asked for its topology, and what is made of hosts that do not answer everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libvirt
import pytest

from kvmctl.errors import HostUnreachable
from kvmctl.host import machine
from kvmctl.host.connection import Host, connect, translated
from kvmctl.host.targets import Target
from kvmctl.host.topology import topology
from kvmctl.plan.topology import PagePool
from tests.host import capabilities

GIB = 2**30
REMOTE = "qemu+tcp://host2/system"
HERE = "qemu:///system"


def refusal(code: int, message: str = "no", domain: int = libvirt.VIR_FROM_RPC) -> libvirt.libvirtError:
    """An error as libvirt raises it."""
    error = libvirt.libvirtError(message)
    error.err = (code, domain, message, 2, "", "", "", 0, 0)
    return error


class Connection:
    """The questions that `topology` asks, with answers that are as good as they were made."""

    def __init__(self, text: str, **answers: Any) -> None:
        self.text = text
        self.answers = answers
        self.asked: list[tuple[Any, ...]] = []

    def getCapabilities(self) -> str:  # noqa: N802 - libvirt\'s name
        return self.text

    def _answer(self, name: str, *arguments: Any) -> Any:
        self.asked.append((name, *arguments))
        answer = self.answers.get(name, refusal(libvirt.VIR_ERR_NO_SUPPORT))
        answer = answer(*arguments) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def getCPUMap(self, flags: int) -> Any:  # noqa: N802 - libvirt\'s name
        return self._answer("getCPUMap")

    def getCellsFreeMemory(self, first: int, count: int) -> Any:  # noqa: N802 - libvirt\'s name
        return self._answer("getCellsFreeMemory", first, count)

    def getFreePages(self, sizes: list[int], first: int, count: int) -> Any:  # noqa: N802 - libvirt\'s name
        return self._answer("getFreePages", sizes, first, count)


def host(conn: Any, uri: str = REMOTE) -> Host:
    return Host(Target("host2", uri), conn, events=False)


def test_three_questions_after_the_capabilities() -> None:
    conn = Connection(
        capabilities.server(),
        getCPUMap=(8, [True] * 8, 8),
        getCellsFreeMemory=[5 * GIB, 6 * GIB],
        getFreePages={0: {2048: 3, 1048576: 0}, 1: {2048: 0, 1048576: 1}},
    )
    found = topology(host(conn))
    assert conn.asked == [
        ("getCPUMap",),
        ("getCellsFreeMemory", 0, 2),
        ("getFreePages", [2048, 1048576], 0, 2),
    ]
    assert [node.free for node in found.nodes.values()] == [5 * GIB, 6 * GIB]
    assert found.nodes[0].pages[2 * 2**20] == PagePool(total=1024, free=3)
    assert found.cpus[0].isolated is None
    assert found.devices == ()


def test_a_host_that_answers_nothing_else() -> None:
    found = topology(host(Connection(capabilities.server())))
    assert found.online == frozenset(range(8))
    assert [node.free for node in found.nodes.values()] == [0, 0]
    assert found.nodes[0].pages[2 * 2**20].free == 0


def test_nodes_with_holes_between_their_numbers() -> None:
    """libvirt refuses to speak of nodes that are not there, so each is asked for by itself."""

    def free(first: int, count: int) -> Any:
        return [first * GIB + GIB] if count == 1 else refusal(libvirt.VIR_ERR_INTERNAL_ERROR)

    def pages(sizes: list[int], first: int, count: int) -> Any:
        return {first: dict.fromkeys(sizes, first)} if count == 1 else refusal(libvirt.VIR_ERR_OPERATION_FAILED)

    found = topology(host(Connection(capabilities.lopsided(), getCellsFreeMemory=free, getFreePages=pages)))
    assert {number: node.free for number, node in found.nodes.items()} == {0: GIB, 2: 0, 5: 6 * GIB}
    assert found.nodes[5].pages[2 * 2**20].free == 5


def test_a_connection_that_is_lost_is_told() -> None:
    lost = refusal(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed")
    with pytest.raises(HostUnreachable), translated(host="host2"):  # as `connect` has it
        topology(host(Connection(capabilities.server(), getCPUMap=lost)))


def test_what_only_this_machine_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "isolated_cpus", lambda: frozenset((2,)))
    monkeypatch.setattr(machine, "nodes_of_cpus", lambda cpus: dict.fromkeys(cpus, 1))
    conn = Connection(capabilities.server(), getCPUMap=(9, [True] * 8 + [False], 8))
    here = topology(host(conn, HERE))
    assert [number for number, cpu in here.cpus.items() if cpu.isolated] == [2]
    assert here.cpus[8].node == 1
    far = topology(host(conn))
    assert far.cpus[2].isolated is None
    assert far.cpus[8].node == -1


def test_the_test_driver() -> None:
    with connect(Target("test", "test:///default"), readonly=True) as found:
        seen = topology(found, devices=True)
    assert len(seen.online) == 16
    assert {cpu.isolated for cpu in seen.cpus.values()} == {None}  # it is not this machine
    assert [node.memory for node in seen.nodes.values()] == [2 * GIB, 4 * GIB]
    assert seen.devices == ()


# -- this machine ---------------------------------------------------------------------------------------


def put(system: Path, path: str, text: str) -> None:
    (system / path).parent.mkdir(parents=True, exist_ok=True)
    (system / path).write_text(text + "\n")


def test_isolated_cpus(tmp_path: Path) -> None:
    assert machine.isolated_cpus(tmp_path) is None
    put(tmp_path, "sys/devices/system/cpu/isolated", "")
    assert machine.isolated_cpus(tmp_path) == frozenset()
    put(tmp_path, "sys/devices/system/cpu/isolated", "2-3,8")
    put(tmp_path, "sys/fs/cgroup/cpuset.cpus.isolated", "9")
    assert machine.isolated_cpus(tmp_path) == frozenset((2, 3, 8, 9))


def test_nodes_of_cpus(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/system/cpu/cpu5/node1").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/cpu6").mkdir()
    assert machine.nodes_of_cpus((5, 6, 7), tmp_path) == {5: 1}


def test_the_default_huge_page(tmp_path: Path) -> None:
    assert machine.default_hugepage(tmp_path) is None
    put(tmp_path, "proc/meminfo", "MemTotal: 1 kB\nHugepagesize:    1048576 kB\nHugetlb: 0 kB")
    assert machine.default_hugepage(tmp_path) == GIB
