"""Hints for what libvirt refuses: the messages are libvirt's and QEMU's own, as they were seen."""

from __future__ import annotations

import pytest

from kvmctl.host.remedies import REMEDIES, remedy


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("TPM version '2.0' is not supported", "swtpm"),
        ("unable to find any firmware to satisfy 'efi'", "ovmf"),
        ("Failed to parse user 'libvirt-qemu'", "libvirt-daemon-system"),
        ('Failed to get "write" lock', "another VM"),
        ("network 'default' is not active", "virsh net-start"),
        ("qemu-system-x86_64: unable to map backing store for guest RAM: Cannot allocate memory", "host hugepages"),
        ("Unable to find any usable hugetlbfs mount for 1048576 KiB", "memfd"),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "not enough free memory"),
        ("Cannot access storage file '/nowhere/x.qcow2' (as uid:0, gid:0): No such file or directory", "path"),
    ],
)
def test_a_refusal_has_its_remedy(message: str, hint: str) -> None:
    assert hint in remedy(message)


def test_what_is_not_known_has_none() -> None:
    assert remedy("something new") == ""


def test_parts_are_in_small_letters_or_they_would_never_fit() -> None:
    assert [part for part, _ in REMEDIES if part != part.lower()] == []
