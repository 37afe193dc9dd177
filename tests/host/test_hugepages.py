"""Changing the huge pages of a host whose kernel and libvirt do as they are told: in part, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt
import pytest

from kvmctl.errors import Interrupted, KvmctlError
from kvmctl.host import hugepages
from kvmctl.host.connection import Host
from kvmctl.host.targets import Target
from kvmctl.parallel import Work

SMALL = 2 * 2**20
TARGET = Target("host1", "qemu+tcp://host1/system")
CELL = "<cell id='{number}'><memory>4194304</memory><pages size='4'>1</pages><pages size='2048'>{total}</pages></cell>"
VM = """<domain><name>{name}</name><memory>131072</memory>
<memoryBacking><hugepages><page size='2048'/></hugepages></memoryBacking></domain>"""


def problem(code: int) -> libvirt.libvirtError:
    error = libvirt.libvirtError("refused")
    error.err = (code, libvirt.VIR_FROM_QEMU, "so geht das nicht", 2, None, None, None, 0, 0)
    return error


class Domain:
    def __init__(self, name: str, *, running: bool) -> None:
        self.text, self.number = VM.format(name=name), 1 if running else -1

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - libvirt's name
        return self.text

    def ID(self) -> int:  # noqa: N802 - libvirt's name
        return self.number


class Connection:
    """Two nodes. `used` by node; the kernel has no more than `most` pages for a node, and libvirt may say no."""

    def __init__(self) -> None:
        self.totals = {0: 0, 1: 0}
        self.used = {0: 0, 1: 0}
        self.most = 1000
        self.asked: list[tuple[int, int]] = []
        self.refusal: int | None = None
        self.native: Callable[[str], str] = lambda xml: "qemu"
        self.domains: list[Domain] = []
        self.before_asking: Callable[[], None] = lambda: None

    def getCapabilities(self) -> str:  # noqa: N802
        cells = "".join(CELL.format(number=number, total=total) for number, total in self.totals.items())
        return f"<capabilities><host><topology><cells>{cells}</cells></topology></host></capabilities>"

    def getCPUMap(self, flags: int) -> Any:  # noqa: N802
        return 0, [], 0

    def getCellsFreeMemory(self, first: int, count: int) -> list[int]:  # noqa: N802
        return [2**30] * count

    def getFreePages(self, sizes: list[int], first: int, count: int) -> Any:  # noqa: N802
        return {node: {2048: self.totals[node] - self.used[node]} for node in self.totals}

    def listAllDomains(self, flags: int) -> list[Domain]:  # noqa: N802
        return self.domains

    def domainXMLToNative(self, form: str, xml: str, flags: int) -> str:  # noqa: N802
        return self.native(xml)

    def allocPages(self, pages: dict[int, int], node: int, count: int, flags: int) -> int:  # noqa: N802
        assert flags == libvirt.VIR_NODE_ALLOC_PAGES_SET, "0 would add to what is there"
        if self.refusal is not None:
            raise problem(self.refusal)
        self.asked.append((node, pages[2048]))
        self.totals[node] = min(pages[2048], self.most)
        self.before_asking()
        if self.totals[node] < pages[2048]:
            raise problem(libvirt.VIR_ERR_OPERATION_FAILED)
        return 1


@pytest.fixture
def conn(monkeypatch: pytest.MonkeyPatch) -> Connection:
    made = Connection()

    @contextmanager
    def connect(target: Target, **more: Any) -> Iterator[Host]:
        yield Host(target, made, events=False)

    monkeypatch.setattr(hugepages, "connect", connect)
    return made


def work() -> Work:
    return Work(60, threading.Event())


def allocate(count: int, *, node: int | None = None, watch: Work | None = None) -> dict[str, Any]:
    return hugepages.allocate(TARGET, watch or work(), size=SMALL, node=node, count=count)


def show(**more: int | None) -> dict[str, Any]:
    return hugepages.show(TARGET, work(), **{"size": None, "node": None, **more})


def test_one_node(conn: Connection) -> None:
    done = allocate(8, node=1)
    assert (conn.asked, done["changed"], done["name"]) == ([(1, 8)], True, "host1")
    [pages] = done["sizes"]
    assert pages["nodes"] == [{"number": 1, "total": 8, "free": 8, "used": 0, "before": 0}]
    assert "hugepages=1:8" in done["notes"][-1]


def test_what_is_there_already_is_left_alone(conn: Connection) -> None:
    conn.totals = {0: 4, 1: 4}
    assert allocate(8)["changed"] is False
    assert conn.asked == []
    assert allocate(4, node=0)["changed"] is False


def test_nodes_that_get_fewer_come_first(conn: Connection) -> None:
    conn.totals = {0: 0, 1: 9}
    assert allocate(10)["changed"] is True
    assert conn.asked == [(1, 5), (0, 5)]


def test_fewer_than_asked_for_are_kept_and_told(conn: Connection) -> None:
    conn.most = 6
    with pytest.raises(KvmctlError) as caught:
        allocate(20)
    assert caught.value.code == "hugepages-short"
    assert "12 of the 20 huge pages" in caught.value.message
    assert conn.totals == {0: 6, 1: 6}


def test_pages_in_use_are_not_taken(conn: Connection) -> None:
    conn.totals, conn.used, conn.domains = {0: 100, 1: 0}, {0: 64, 1: 0}, [Domain("web1", running=True)]
    with pytest.raises(KvmctlError) as caught:
        allocate(63, node=0)
    assert caught.value.code == "hugepages-in-use"
    assert "by web1" in caught.value.message
    assert conn.asked == []


def test_interrupted_all_is_as_it_was(conn: Connection) -> None:
    conn.totals = {0: 1, 1: 2}
    stop = threading.Event()
    conn.before_asking = stop.set
    with pytest.raises(Interrupted):
        allocate(20, watch=Work(60, stop))
    assert conn.totals == {0: 1, 1: 2}


@pytest.mark.parametrize(
    ("refusal", "code", "exit_code"),
    [
        (libvirt.VIR_ERR_SYSTEM_ERROR, "not-authorised", 7),
        (libvirt.VIR_ERR_NO_SUPPORT, "not-supported", 5),
        (libvirt.VIR_ERR_ACCESS_DENIED, "not-authorised", 7),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "libvirt-failed", 1),
    ],
)
def test_a_libvirt_that_refuses(conn: Connection, refusal: int, code: str, exit_code: int) -> None:
    conn.refusal = refusal
    with pytest.raises(KvmctlError) as caught:
        allocate(8, node=0)
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)


def test_who_has_them_and_who_needs_some(conn: Connection) -> None:
    conn.totals, conn.used = {0: 100, 1: 0}, {0: 64, 1: 0}
    conn.domains = [Domain("off", running=False), Domain("web1", running=True)]
    shown = show()
    [pages] = shown["sizes"]
    assert (pages["total"], pages["used"], pages["free"]) == (100, 64, 36)
    assert [(vm["name"], vm["running"], vm["pages"]) for vm in pages["vms"]] == [("web1", True, 64), ("off", False, 64)]
    assert [note for note in shown["notes"] if note.startswith("off ")] == [
        "off is stopped and needs 64 pages of 2MiB to start; 36 are free"
    ]


def test_one_size_and_one_node(conn: Connection) -> None:
    [pages] = show(node=1)["sizes"]
    assert [node["number"] for node in pages["nodes"]] == [1]
    with pytest.raises(KvmctlError) as caught:
        show(node=2)
    assert caught.value.code == "node-not-found"
    with pytest.raises(KvmctlError) as caught:
        show(size=2**30)
    assert caught.value.code == "not-supported"


def test_whether_guests_can_use_them(conn: Connection) -> None:
    def unmounted(xml: str) -> str:
        if "memfd" not in xml:
            raise problem(libvirt.VIR_ERR_INTERNAL_ERROR)
        return "qemu"

    def broken(xml: str) -> str:
        raise problem(libvirt.VIR_ERR_INTERNAL_ERROR)

    assert show()["sizes"][0]["mounted"] is None, "nothing is asked where there are no pages"
    conn.totals = {0: 4, 1: 0}
    assert show()["sizes"][0]["mounted"] is True
    conn.native = unmounted
    shown = show()
    assert shown["sizes"][0]["mounted"] is False
    assert "memfd" in shown["notes"][0]
    conn.native = broken
    assert show()["sizes"][0]["mounted"] is None, "there is no QEMU, for example"
    assert show()["notes"] == []
