"""Whether a device is still the one that a VM got."""

from __future__ import annotations

from dataclasses import replace

from kvmctl.plan.pci.identity import identities, moved
from tests.plan.pci.world import device, host

FIRST, SECOND, NIC = "0000:41:00.0", "0000:42:00.0", "0000:43:00.0"
ONE, TWO = device(FIRST, "nvme", serial="SN-1"), device(SECOND, "nvme", serial="SN-2")
CARD = device(NIC, product="1521")
ALL = (FIRST, SECOND, NIC)
KEPT = identities(host(ONE, TWO, CARD), (*ALL, "0000:99:00.0"))


def test_what_is_kept() -> None:
    assert KEPT[0] == {"address": FIRST, "product": "8086:10c9", "serial": "SN-1"}
    assert KEPT[2] == {"address": NIC, "product": "8086:1521"}
    assert len(KEPT) == 3


def test_nothing_moved() -> None:
    assert list(moved(host(ONE, TWO, CARD), KEPT, ALL)) == []
    assert list(moved(host(), KEPT, ALL)) == [], "what is gone is for the guard to say"
    unseen = host(replace(ONE, serial=""), TWO, CARD)
    assert list(moved(unseen, KEPT, ALL)) == [], "a serial number that cannot be read is no other one"


def test_two_disks_that_changed_places() -> None:
    swapped = host(replace(ONE, serial="SN-2"), replace(TWO, serial="SN-1"), CARD)
    found = list(moved(swapped, KEPT, ALL, forced=(SECOND,)))
    assert [(each.code, each.verdict, each.subject) for each in found] == [
        ("device-moved", "blocker", FIRST),
        ("device-moved", "warning", SECOND),
    ]
    assert "was the one with serial number SN-1" in found[0].what
    assert SECOND in found[0].hint
    assert list(moved(swapped, KEPT, (NIC,))) == [], "the VM has it no longer"


def test_another_product() -> None:
    [found] = moved(host(replace(CARD, product="10fb")), KEPT, ALL)
    assert found.what == f"{NIC} was 8086:1521 when the VM got it, and is 8086:10fb now"
    assert "pci list" in found.hint
