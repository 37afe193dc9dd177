"""Which disks may go with a VM: in doubt, none."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

import pytest

from kvmctl.errors import Refused
from kvmctl.plan.deletion import Deletion, Others, OwnDisk, decide, mentions, own_disks, paths_in, unfinished
from kvmctl.plan.deletion import volumes_named as named
from kvmctl.spec import metadata
from kvmctl.spec.xmltext import parse

NOBODY = Others(mentions={}, backing={})


def domain(devices: str, more: str = "") -> str:
    return f"<domain><name>web1</name>{more}<devices>{devices}</devices></domain>"


def disk(source: str, kind: str = "file", device: str = "disk", more: str = "") -> str:
    return f"<disk type='{kind}' device='{device}'>{source}<target dev='vda'/>{more}</disk>"


def own(devices: str) -> list[tuple[str, str]]:
    found = own_disks(parse(domain(devices)), {("pool", "vol"): "/pool/vol", ("lvm", "vol"): "/dev/lvm/vol"})
    return [(disk.path, disk.keep) for disk in found]


@pytest.mark.parametrize(
    ("xml", "path", "reason"),
    [
        (disk("<source file='/a'/>"), "/a", ""),
        (disk("<source pool='pool' volume='vol'/>", "volume"), "/pool/vol", ""),
        (disk("<source pool='pool' volume='gone'/>", "volume"), "pool/gone", "a volume that is not there"),
        (disk("<source pool='lvm' volume='vol'/>", "volume"), "/dev/lvm/vol", "a block device"),
        (disk("<source dev='/dev/sdb'/>", "block"), "/dev/sdb", "a block device"),
        (disk("<source file='/dev/sdb'/>"), "/dev/sdb", "a block device"),
        (disk("<source dev='/dev/sdb'/>", "block", "lun"), "/dev/sdb", "a SCSI device of the host"),
        (disk("<source protocol='rbd' name='pool/image'/>", "network"), "rbd:pool/image", "a disk on the network"),
        (disk("<source dir='/srv'/>", "dir"), "/srv", "of the type 'dir'"),
        (disk("<source type='pci' managed='yes'/>", "nvme"), "nvme", "an NVMe device of the host"),
        (disk("<source file='/a.iso'/>", device="cdrom"), "/a.iso", "a CD image"),
        (disk("<source file='/a.img'/>", device="floppy"), "/a.img", "a floppy image"),
        (disk("<source file='/a'/>", more="<readonly/>"), "/a", "read-only"),
        (disk("<source file='/a'/>", more="<shareable/>"), "/a", "shareable"),
        (disk("<source file='/a'/>", more="<transient/>"), "/a", "not to be changed by the VM"),
    ],
)
def test_only_plain_writable_files_of_the_definition_may_go(xml: str, path: str, reason: str) -> None:
    assert own(xml) == [(path, reason)]


def test_empty_drives_are_no_disks_and_backing_files_are_not_the_vms() -> None:
    backing = "<backingStore type='file'><source file='/base'/></backingStore>"
    assert own(disk("", device="cdrom") + disk("<source file='/a'/>", more=backing)) == [("/a", "")]


def test_all_that_a_domain_mentions() -> None:
    xml = domain(
        disk("<source file='/srv//a'/>", more="<backingStore><source file='/base'/></backingStore>")
        + disk("<source pool='pool' volume='vol'/>", "volume")
        + disk("<source file='/x'/>", more="<mirror><source file='/mirror'/></mirror>"),
        more="<os><kernel>/boot/vmlinuz </kernel><nvram>/nvram/web1</nvram></os><description>not/a/path</description>",
    )
    found = mentions(parse(xml), {("pool", "vol"): "/pool/vol"}, posixpath.normpath)
    assert found == {"/srv/a", "/base", "/pool/vol", "/x", "/mirror", "/boot/vmlinuz", "/nvram/web1"}
    assert named(parse(xml)) == {("pool", "vol")}


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("/a/../b", {"/b"}),
        ("relative", set()),
        ('json:{"file": {"filename": "/a"}, "backing": [{"file": "/b"}], "driver": "qcow2"}', {"/a", "/b"}),
        ("json:{broken", set()),
        ("json:" + "[" * 100_000, set()),
        ("", set()),
    ],
)
def test_the_paths_in_a_source(text: str, paths: set[str]) -> None:
    assert paths_in(text) == paths


A, B = OwnDisk(path="/a"), OwnDisk(path="/b")
SDB = OwnDisk(path="/dev/sdb", keep="a block device")


def outcome(deletion: Deletion) -> tuple[list[str], dict[str, str]]:
    return [disk.path for disk in deletion.doomed], {disk.path: disk.keep for disk in deletion.kept}


def test_without_disks_all_are_kept() -> None:
    decision = decide("web1", [A, SDB], [], NOBODY, disks=False)
    assert outcome(decision) == ([], {"/a": "--disks was not given", "/dev/sdb": "a block device"})


def test_with_disks_they_go() -> None:
    assert outcome(decide("web1", [A, SDB, B], [], NOBODY, disks=True)) == (
        ["/a", "/b"],
        {"/dev/sdb": "a block device"},
    )


USERS: dict[str, tuple[Others, str]] = {
    "a VM": (Others(mentions={"db1": frozenset({"/a"})}, backing={}), "VM 'db1'"),
    "an overlay": (
        Others(mentions={}, backing={"/a": frozenset({"/overlay"})}),
        "/overlay, whose backing file it is",
    ),
}


@pytest.mark.parametrize("kind", USERS)
def test_a_disk_that_another_needs_refuses_the_whole(kind: str) -> None:
    others, who = USERS[kind]
    with pytest.raises(Refused) as caught:
        decide("web1", [B, A], [], others, disks=True)
    assert (caught.value.code, caught.value.exit_code, caught.value.vm) == ("disk-in-use", 5, "web1")
    assert caught.value.message == f"nothing was deleted: /a is used by {who}"
    assert outcome(decide("web1", [B, A], [], others, disks=False))[0] == []


def test_a_disk_below_another_that_goes_as_well_goes() -> None:
    others = Others(mentions={}, backing={"/a": frozenset({"/b"})})
    assert outcome(decide("web1", [A, B], [], others, disks=True))[0] == ["/a", "/b"]


def test_two_names_of_one_file_are_one() -> None:
    canonical: Callable[[str], str] = {"/link": "/a"}.get  # type: ignore[assignment]
    others = Others(mentions={"db1": frozenset({"/a"})}, backing={})
    with pytest.raises(Refused):
        decide("web1", [OwnDisk(path="/link")], [], others, disks=True, canonical=canonical)


def test_what_an_interrupted_create_was_making_goes_in_any_case() -> None:
    vm = metadata.element("name: web1\n")
    metadata.mark(vm, [("/a", "default"), ("/c", None)], pid="1")
    definition = parse(domain(disk("<source file='/a'/>") + disk("<source file='/b'/>"), "<title/>"))
    metadata.attach(definition, vm)
    pending = unfinished(definition)
    assert pending == (OwnDisk(path="/a", pool="default"), OwnDisk(path="/c"))
    decision = decide("web1", own_disks(definition, {}), pending, NOBODY, disks=False)
    assert outcome(decision) == (["/a", "/c"], {"/b": "--disks was not given"})
    assert decision.doomed[0].pool == "default"
    # A path in use by now cannot be what create was making; it must not stand in the way either.
    others = Others(mentions={"db1": frozenset({"/a"})}, backing={})
    assert outcome(decide("web1", [], pending, others, disks=True)) == (["/c"], {"/a": "used by VM 'db1'"})


def test_a_vm_without_a_mark_has_nothing_unfinished() -> None:
    definition = parse(domain(disk("<source file='/a'/>")))
    metadata.attach(definition, metadata.element("name: web1\n"))
    assert unfinished(definition) == ()
