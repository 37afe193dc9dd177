"""The file that shows whether two directories are one, on pools that behave like those of NFS and of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import libvirt
import pytest

from kvmctl.errors import HostUnreachable, KvmctlError
from kvmctl.host.migration import blocks, look, sharing
from kvmctl.plan.migration.wish import Wish
from tests.plan.migration.healthy import domain, guest

TIMES = "<timestamps><mtime>{0}</mtime><ctime>{0}</ctime></timestamps>"
XML = """<volume><name>a</name><capacity>{size}</capacity><allocation>5</allocation>{backing}
<target>{times}</target></volume>"""


def refused(message: str, code: int = libvirt.VIR_ERR_OPERATION_FAILED) -> Exception:
    """As libvirt raises it."""
    problem: Exception = libvirt.libvirtError(message)
    problem.err = (code, libvirt.VIR_FROM_STORAGE, message, 2, "", None, None, 0, 0)  # type: ignore[attr-defined]
    return problem


@dataclass
class Volume:
    pool: Pool
    name: str

    def delete(self, flags: int) -> None:
        self.pool.files.discard(self.name)

    def XMLDesc(self, flags: int = 0) -> str:  # noqa: N802
        return XML.format(size=self.pool.size, times=TIMES.format(self.pool.time), backing=self.pool.backing)


@dataclass
class Pool:
    """A directory. Two with the same `files` are one. `stale`: the list does not show new files, as on NFS."""

    files: set[str]
    stale: bool = False
    readonly: bool = False
    size: int = 10
    time: str = "1.5"
    backing: str = ""
    made: list[str] = field(default_factory=list)

    def refresh(self, flags: int) -> None:
        pass

    def info(self) -> list[int]:
        return [2, 100, 50, 50]

    def listVolumes(self) -> list[str]:  # noqa: N802
        return [] if self.stale else sorted(self.files)

    def createXML(self, xml: str, flags: int) -> Volume:  # noqa: N802
        name = xml.partition("<name>")[2].partition("<")[0]
        if self.readonly:
            raise refused("Read-only file system")
        if name in self.files:
            raise refused("storage volume exists already")
        self.files.add(name)
        self.made.append(name)
        return Volume(self, name)

    def storageVolLookupByName(self, name: str) -> Volume:  # noqa: N802
        if name not in self.files:
            raise refused("no such volume", libvirt.VIR_ERR_NO_STORAGE_VOL)
        return Volume(self, name)


class Asked:
    """Work that is not called off."""

    def check(self) -> None:
        pass


def looked(monkeypatch: pytest.MonkeyPatch, here: Pool | None, there: Pool | None, *, written: bool = True) -> Any:
    """How /d/a is seen, of which the source has it in `here` and the target in `there`."""

    @contextmanager
    def reached(host: str, directory: str) -> Iterator[Pool | None]:
        yield here if host == "one" else there

    monkeypatch.setattr(sharing, "reached", reached)
    files = {"/d/a"}
    arguments: tuple[Any, ...] = ("one", "two", files if written else (), files, str, Asked())
    return sharing.sights(*arguments)


@pytest.mark.parametrize("stale", [False, True], ids=["listed", "not listed yet"])
def test_one_directory(monkeypatch: pytest.MonkeyPatch, stale: bool) -> None:
    files = {"a"}
    seen = looked(monkeypatch, Pool(files), Pool(files, stale=stale))["/d/a"]
    assert (seen.sharing, seen.present, seen.size_there) == ("shared", True, 10)
    assert files == {"a"}


@pytest.mark.parametrize("file", [{"a"}, set()], ids=["of the same name", "not there"])
def test_two_directories(monkeypatch: pytest.MonkeyPatch, file: set[str]) -> None:
    """Even with a file of the same size and time there: the directory is another."""
    here, there = Pool({"a"}), Pool(set(file))
    seen = looked(monkeypatch, here, there)["/d/a"]
    assert (seen.sharing, seen.present, seen.room, seen.store) == ("separate", bool(file), 50, "/d")
    assert (here.files, there.files) == ({"a"}, file)


def test_a_file_that_is_only_read_has_no_file_made_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Pool({"a"}), Pool({"a"})
    looked(monkeypatch, here, there, written=False)
    assert here.made == there.made == []


@pytest.mark.parametrize(
    ("there", "sharing", "present"),
    [
        (Pool({"a"}), "shared", True),
        (Pool({"a"}, time="2.5"), "unknown", True),
        (Pool({"a"}, size=11), "separate", True),
        (Pool(set()), "separate", False),
    ],
)
def test_where_nothing_can_be_made(monkeypatch: pytest.MonkeyPatch, there: Pool, sharing: str, present: bool) -> None:
    seen = looked(monkeypatch, Pool({"a"}, readonly=True), there)["/d/a"]
    assert (seen.sharing, seen.present) == (sharing, present)


def test_times_without_fractions_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that counts seconds may have two files of the same time."""
    seen = looked(monkeypatch, Pool({"a"}, readonly=True, time="1"), Pool({"a"}, time="1"))["/d/a"]
    assert seen.sharing == "unknown"


def test_the_target_may_not_write_where_the_source_does(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Pool({"a"})
    seen = looked(monkeypatch, here, Pool({"a"}, readonly=True, time="2.5"))["/d/a"]
    assert seen.sharing == "unknown"
    assert here.files == {"a"}


def test_no_such_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = looked(monkeypatch, Pool({"a"}), None)["/d/a"]
    assert (seen.sharing, seen.present, seen.directory, seen.room) == ("separate", False, False, None)


def test_images_below_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Pool({"a"}, backing="<backingStore><path>/e/base</path></backingStore>")
    assert looked(monkeypatch, here, Pool({"a"})).keys() == {"/d/a", "/e/base"}


@pytest.mark.parametrize("gone", [False, True])
def test_what_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    """Is not known; but a host that is gone ends it all."""
    problem = HostUnreachable("host-unreachable", "gone") if gone else KvmctlError("libvirt-failed", "cannot look")

    def reached(host: str, directory: str) -> Any:
        raise problem

    monkeypatch.setattr(sharing, "reached", reached)
    arguments: tuple[Any, ...] = ("one", "two", {"/d/a"}, (), str, Asked())
    if gone:
        with pytest.raises(HostUnreachable):
            sharing.sights(*arguments)
    else:
        assert sharing.sights(*arguments)["/d/a"].sharing == "unknown"


def test_nothing_is_made_beside_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices go another way, whichever kind of disk names them."""
    disks = "".join(
        f"<disk type='{kind}'><source {attribute}='/dev/{name}'/><target dev='{name}'/></disk>"
        for kind, attribute, name in (("block", "dev", "vda"), ("file", "file", "vdb"))
    )
    asked: dict[str, Any] = {}

    def note(what: str, chosen: slice) -> Any:
        def sights(*given: Any) -> dict[str, Any]:
            asked[what] = given[chosen]
            return {}

        return sights

    monkeypatch.setattr(sharing, "sights", note("files", slice(2, 4)))
    monkeypatch.setattr(blocks, "sights", note("devices", slice(2, 3)))
    arguments: tuple[Any, ...] = (None, None, guest(domain(disk=disks)), Wish(), None)
    look._sights(*arguments)
    assert asked == {"files": (set(), set()), "devices": ({"/dev/vda", "/dev/vdb"},)}
