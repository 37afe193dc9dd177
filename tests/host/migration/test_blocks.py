"""The same block device, by names that hold in the whole world."""

from __future__ import annotations

from kvmctl.host.migration.blocks import compared

SAN = "/dev/disk/by-id/wwn-0x600508b400105e21"
OTHER = "/dev/disk/by-id/wwn-0x600508b400105e22"


def test_the_same_device_under_two_names() -> None:
    seen = compared("/dev/sdb", "/dev/sdc", [frozenset({"/dev/sdb", SAN})], [frozenset({"/dev/sdc", SAN})])
    assert (seen.sharing, seen.present, seen.how) == ("shared", True, "both see the device wwn-0x600508b400105e21")


def test_two_devices_under_one_name() -> None:
    seen = compared("/dev/sdb", "/dev/sdb", [frozenset({"/dev/sdb", SAN})], [frozenset({"/dev/sdb", OTHER})])
    assert seen.sharing == "separate"


def test_without_a_name_of_its_maker_nothing_is_known() -> None:
    plain = [frozenset({"/dev/sdb", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"})]
    assert compared("/dev/sdb", "/dev/sdb", plain, plain).sharing == "unknown"
    assert compared("/dev/sdz", "/dev/sdz", plain, []).sharing == "unknown"
