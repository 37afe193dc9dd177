"""Disks as any domain's XML names them."""

from __future__ import annotations

import pytest

from kvmctl.plan.migration.disk import Disk, disks_of, name_there, path_there
from kvmctl.plan.volumes import Encryption
from tests.plan.migration.healthy import domain

TARGET = "<target dev='vda'/>"


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<disk type='file'><source file='/a'/>{}</disk>", Disk(target="vda", path="/a")),
        (
            "<disk type='block' device='lun'><source dev='/dev/sda'/>{}<shareable/></disk>",
            Disk(target="vda", type="block", device="lun", path="/dev/sda", shareable=True),
        ),
        (
            "<disk type='volume'><source pool='p' volume='v'/>{}</disk>",
            Disk(target="vda", type="volume", pool="p", volume="v"),
        ),
        (
            "<disk type='network'><source protocol='rbd' name='p/i'><host name='m'/></source>{}</disk>",
            Disk(target="vda", type="network", protocol="rbd", volume="p/i", hosts=("m",)),
        ),
        ("<disk type='file' device='cdrom'>{}</disk>", Disk(target="vda", device="cdrom", readonly=True)),
        (
            """<disk type='file'><driver cache='none'/><source file='/a'/><backingStore type='file'><source file='/b'/>
            <backingStore type='file'><source file='/c'/></backingStore></backingStore>{}</disk>""",
            Disk(target="vda", path="/a", cache="none", backing=("/b", "/c")),
        ),
        (
            "<disk type='file'><source file='/a'/><mirror type='file'><source file='/b'/></mirror>{}</disk>",
            Disk(target="vda", path="/a", copying=True),
        ),
        (
            """<disk type='file'><driver type='qcow2'/><source file='/a'><encryption format='luks'>
            <secret type='passphrase' uuid='s'/></encryption></source>{}</disk>""",
            Disk(target="vda", path="/a", format="qcow2", encryption=Encryption(format="luks", uuid="s")),
        ),
        (
            """<disk type='file'><source file='/a'/><encryption format='luks'><secret type='passphrase' usage='/a'/>
            </encryption>{}</disk>""",
            Disk(target="vda", path="/a", encryption=Encryption(format="luks", usage="/a")),
        ),
        (
            """<disk type='file'><source file='/a'/><backingStore type='file'><source file='/b'>
            <encryption format='luks'/></source></backingStore>{}</disk>""",
            Disk(target="vda", path="/a", backing=("/b",), encrypted_below=True),
        ),
    ],
)
def test_what_a_disk_is(xml: str, expected: Disk) -> None:
    assert disks_of(domain(disk=xml.format(TARGET))) == (expected,)


@pytest.mark.parametrize(
    ("disk", "empty", "written", "is_device", "shown"),
    [
        (Disk(target="vda", path="/a"), False, True, False, "/a"),
        (Disk(target="vda", path="/dev/sda"), False, True, True, "/dev/sda"),
        (Disk(target="vda", path="/a", readonly=True), False, False, False, "/a"),
        (Disk(target="vda", device="cdrom"), True, False, False, "of type file"),
        (Disk(target="vda", type="nvme"), False, True, True, "of type nvme"),
        (Disk(target="vda", type="volume", pool="p", volume="v"), False, True, False, "p/v"),
        (Disk(target="vda", type="network", protocol="rbd", volume="p/i"), False, True, False, "rbd:p/i"),
    ],
)
def test_what_follows(disk: Disk, empty: bool, written: bool, is_device: bool, shown: str) -> None:
    assert (disk.empty, disk.written, disk.is_device, disk.shown) == (empty, written, is_device, shown)


def test_names_at_the_target() -> None:
    maps = {"/a/b": "/x", "pool:p": "q"}
    assert path_there("/a/./b/c", maps) == "/x/c"
    assert path_there("/a/bc", maps) == "/a/bc"
    assert (name_there("pool", "p", maps), name_there("network", "p", maps)) == ("q", "p")
