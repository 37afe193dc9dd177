"""How disks are copied: mirrored or sent, the top alone or all in one, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from kvmctl.errors import Refused
from kvmctl.plan.migration import copies
from kvmctl.plan.migration.copies import Copy, Layer, decide
from kvmctl.plan.volumes import Encryption
from kvmctl.spec.xmltext import parse

MIB = 1 << 20


def layer(path: str, form: str = "qcow2", *, there: str = "", backing: str = "", cluster: int = 65536) -> Layer:
    return Layer(
        path=path,
        there=there or path,
        format=form,
        length=3 * MIB,
        size=8 * MIB,
        allocated=2 * MIB,
        cluster=cluster,
        backing=backing,
    )


def disk(target: str, *layers: Layer, still: bool = False, **more: Any) -> Copy:
    return Copy(target=target, layers=layers or (layer(f"/a/{target}"),), size=8 * MIB, still=still, **more)


LUKS = Encryption(format="luks", uuid="6b766d63-746c-4000-8000-0000000000aa")
BASED = (layer("/a/top", backing="/a/base"), layer("/a/base"))


def test_nothing_to_copy() -> None:
    assert decide([], {}) == copies.Copies()


def test_a_plain_disk_is_mirrored_into_one_of_its_kind() -> None:
    decided = decide([disk("vda", layer("/a/x", there="/b/y", cluster=4096)), disk("vdb", layer("/a/z", "raw"))], {})
    assert (decided.mirrored, decided.layers, decided.sent, decided.flat) == (("vda", "vdb"), False, (), ())
    one, two = decided.volumes
    assert (one.path, one.name, one.size, one.format, one.cluster_size) == ("/b/y", "y", 8 * MIB, "qcow2", 4096)
    assert (one.backing, one.pool) == (None, None)
    assert (two.format, two.cluster_size) == ("raw", 0)


def test_the_top_alone_where_the_base_is_there() -> None:
    decided = decide([disk("vda", *BASED), disk("vdb")], {"/a/base": True})
    assert (decided.layers, decided.flat) == (True, ())
    assert [(made.path, made.backing, made.backing_format) for made in decided.volumes] == [
        ("/a/top", "/a/base", "qcow2"),
        ("/a/vdb", None, None),
    ]


@pytest.mark.parametrize(
    ("disks", "there"),
    [
        ([disk("vda", *BASED)], {}),
        ([disk("vda", *BASED)], {"/a/base": False}),
        ([disk("vda", *BASED, layer("/a/root"))], {"/a/base": True, "/a/root": False}),
        ([disk("vda", *BASED, layer("/a/root", there="/b/root"))], {"/a/base": True, "/b/root": True}),
        ([disk("vda", *BASED, complete=False)], {"/a/base": True}),
    ],
)
def test_all_in_one_otherwise(disks: list[Copy], there: dict[str, bool]) -> None:
    decided = decide(disks, there)
    assert (decided.layers, decided.flat) == (False, ("vda",))
    assert decided.volumes[0].backing is None


def test_one_disk_without_its_base_makes_all_whole() -> None:
    """libvirt has one answer for all disks of a VM."""
    other = (layer("/a/other", backing="/a/gone"), layer("/a/gone"))
    decided = decide([disk("vda", *BASED), disk("vdb", *other), disk("vdc")], {"/a/base": True, "/a/gone": False})
    assert (decided.layers, decided.flat) == (False, ("vda", "vdb"))
    assert {made.backing for made in decided.volumes} == {None}


def test_the_first_image_below_may_have_another_name_there() -> None:
    below = layer("/a/base", there="/b/base")
    decided = decide([disk("vda", BASED[0], below)], {"/b/base": True})
    assert (decided.layers, decided.volumes[0].backing) == (True, "/b/base")


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (disk("vda", encryption=Encryption(format="qcow", uuid="s")), "is encrypted as qcow"),
        (disk("vda", encryption=Encryption(format="luks")), "is encrypted as luks"),
        (disk("vda", layer("/dev/vg/x", "raw"), encryption=LUKS), "would be /dev/vg/x"),
        (disk("vda", *BASED, encrypted_below=True), "an image below it is"),
        (disk("vda", shareable=True), "is shared with other VMs"),
        (disk("vda", layer("/a/x", "vmdk")), "format vmdk"),
        (disk("vda", *BASED, still=True, complete=False), "not all images below /a/top"),
        (disk("vda", BASED[0], layer("/a/base", there="/b/base"), still=True), "would be /b/base"),
    ],
)
def test_what_cannot_be_copied(refused: Copy, said: str) -> None:
    with pytest.raises(Refused) as caught:
        decide([disk("vdb"), refused], {})
    assert caught.value.code == "not-supported"
    assert said in caught.value.message
    assert caught.value.hint


def test_what_is_encrypted_is_encrypted_there() -> None:
    decided = decide([disk("vda", layer("/a/x", "raw"), encryption=LUKS), disk("vdb")], {})
    assert [made.encryption for made in decided.volumes] == [LUKS, None]
    assert decided.volumes[0].size == 8 * MIB


def test_an_encrypted_image_below_is_never_taken_for_the_same() -> None:
    """Its top goes with all of it, encrypted as the top is."""
    decided = decide([disk("vda", *BASED, encryption=LUKS, encrypted_below=True)], {"/a/base": True})
    assert (decided.layers, decided.flat, decided.volumes[0].encryption) == (False, ("vda",), LUKS)


def test_room_for_what_shows_no_holes() -> None:
    """Of a raw disk behind encryption all is written; of a qcow2 image what is there; of a file that is sent, too."""
    raw, qcow2 = layer("/a/x", "raw"), layer("/b/x")
    for encrypted, still, needed in ((raw, False, 3), (qcow2, False, 2), (raw, True, 2)):
        copied = disk("vda", encrypted, encryption=LUKS, still=still)
        assert [*copies.room([copied], decide([copied], {})).values()] == [needed * MIB]


def test_still_files_are_sent_as_they_are() -> None:
    still = disk("vda", layer("/a/x", "vmdk", there="/b/y"), still=True, encryption=LUKS, shareable=True)
    decided = decide([still], {})
    assert (decided.mirrored, decided.volumes) == ((), ())
    (sent,) = decided.sent
    assert (sent.path, sent.volume.path, sent.volume.format, sent.volume.size) == ("/a/x", "/b/y", "raw", 3 * MIB)


def test_layers_that_the_target_has_are_not_sent_and_none_twice() -> None:
    root = layer("/a/root", "raw")
    disks = [disk("vda", *BASED, root, still=True), disk("vdb", layer("/a/second"), BASED[1], root, still=True)]
    assert [sent.path for sent in decide(disks, {"/a/root": True}).sent] == ["/a/top", "/a/base", "/a/second"]
    everything = decide(disks, {"/a/base": False, "/a/root": False}).sent
    assert [sent.path for sent in everything] == ["/a/top", "/a/base", "/a/root", "/a/second"]


def test_a_writable_file_is_sent_though_it_is_below_another() -> None:
    """A top of that name is made, or met, whatever was found of an image below."""
    decided = decide([disk("vda", layer("/a/base"), still=True)], {"/a/base": True})
    assert [sent.path for sent in decided.sent] == ["/a/base"]


def test_room() -> None:
    based = disk("vda", layer("/a/top", there="/b/top"), layer("/a/base"))
    top, whole = decide([based], {"/a/base": True}), decide([based], {})
    assert copies.room([based], top) == {"/b": 2 * MIB}
    assert copies.room([based], whole) == {"/b": 4 * MIB}
    still = disk("vda", layer("/a/top", there="/b/top"), layer("/a/base"), still=True)
    assert copies.room([still], decide([still], {})) == {"/b": 2 * MIB, "/a": 2 * MIB}
    assert copies.room([still], decide([still], {"/a/base": True})) == {"/b": 2 * MIB}


@pytest.mark.parametrize(
    ("written", "link", "bandwidth", "waits"),
    [
        (0, 100, None, False),
        (79, 100, None, False),
        (81, 100, None, True),
        (50, 100, 60, True),
        (40, 100, 60, False),
        (99_000_000, None, None, False),
        (101_000_000, None, None, True),
        (81, None, 100, True),
    ],
)
def test_writes_wait_where_the_guest_writes_faster_than_the_link(
    written: int, link: int | None, bandwidth: int | None, waits: bool
) -> None:
    assert copies.synchronous(written, link, bandwidth) is waits


def test_a_limit_is_shared_by_the_disks() -> None:
    assert [copies.share(100, disks) for disks in (0, 1, 3, 200)] == [100, 100, 33, 1]


DOMAIN = """<domain><devices>
<disk><driver type='qcow2'/><target dev='vda'/><backingStore type='file'><source file='/a/base'/></backingStore></disk>
<disk><source file='/x'><encryption format='luks'/></source><target dev='vdb'/><backingStore/></disk>
<disk/></devices></domain>"""


def test_a_disk_that_is_one_now_names_no_image_below() -> None:
    domain = parse(DOMAIN)
    copies.flatten(domain, ["vda"])
    assert [disk.find("backingStore") is not None for disk in domain.iterfind("devices/disk")] == [False, True, False]
