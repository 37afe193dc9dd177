"""Which USB device is meant, what is written for it, and what stands against giving it away."""

from __future__ import annotations

import pytest

from kvmctl.errors import NotFound, Refused
from kvmctl.plan.pci.facts import Need
from kvmctl.plan.pci.guard import refusal
from kvmctl.plan.usb.choose import choose, entry_of, remarks
from kvmctl.plan.usb.find import find, find_present, own, stands_for
from kvmctl.plan.usb.guard import check, verdict
from kvmctl.plan.usb.listing import listed
from kvmctl.spec.model.usb import Usb, selector
from tests.plan.pci.world import has
from tests.plan.usb.world import bus, stick

HUB = stick("1-1", number=2, ids="1d6b:0002", classes=frozenset({9}))
MOUSE = stick("1-1.4", classes=frozenset({3}), drivers=("usbhid",))
DISK = stick("2-1", number=3, ids="0781:5567", blocks=("sdb",))
TWINS = (stick("3-1", number=4, ids="0403:6001"), stick("3-10", number=5, ids="0403:6001"))
HOST = bus(HUB, MOUSE, DISK, *TWINS)


@pytest.mark.parametrize("word", ["046D:C52B", "1:7", "001:007", "1-1.4"])
def test_every_way_to_name_one(word: str) -> None:
    assert find_present(HOST, selector(word)) == MOUSE


@pytest.mark.parametrize(
    "word", ["", "1-", "usb1", "1-1:1.0", "1-1.4.", "3:0", "1000:1", "046d", "046d:", "1:7:1", "-1"]
)
def test_words_that_name_none(word: str) -> None:
    with pytest.raises(ValueError, match="write vendor and product"):
        selector(word)


def test_of_several_alike_one_must_be_named() -> None:
    with pytest.raises(Refused, match=r"3:4 \(port 3-1\), 3:5 \(port 3-10\)") as caught:
        find(HOST, selector("0403:6001"))
    assert caught.value.code == "device-ambiguous"
    assert find_present(HOST, selector("3:5")) == TWINS[1]


def test_what_is_not_there() -> None:
    assert find(HOST, selector("9:9")) is None
    with pytest.raises(NotFound, match="host1 has no USB device 046d:c52c") as caught:
        find_present(HOST, selector("046d:c52c"))
    assert caught.value.hint == "did you mean 046d:c52b?"


def test_it_is_kept_by_what_does_not_change_if_that_tells_it() -> None:
    assert entry_of(HOST, MOUSE) == Usb(vendor="046d", product="c52b")
    assert not list(remarks(HOST, MOUSE))
    assert entry_of(HOST, TWINS[0]) == Usb(vendor="0403", product="6001", bus=3, device=4)
    [said] = remarks(HOST, TWINS[0])
    assert said.startswith("3:5 is 0403:6001 too, so it is kept as 3:4")


def test_ports_of_a_spec() -> None:
    chosen = choose(HOST, [Usb(port="1-1.4", missing="optional", boot_order=1), Usb(which="3-1")], start=False)
    assert chosen.entries == (
        Usb(vendor="046d", product="c52b", missing="optional", boot_order=1),
        Usb(vendor="0403", product="6001", bus=3, device=4),
    )
    assert chosen.ports == ("1-1.4", "3-1")
    assert chosen.sentences[0] == "port 1-1.4 has 046d:c52b"
    with pytest.raises(NotFound):
        choose(HOST, [Usb(port="1-2")], start=False)


def test_what_is_not_plugged_in_is_missed_at_the_start_alone() -> None:
    absent = Usb(vendor="1234", product="5678")
    assert choose(HOST, [absent], start=False).ports == ()
    assert choose(HOST, [Usb(which="1234:5678", missing="optional")], start=True).ports == ()
    with pytest.raises(NotFound):
        choose(HOST, [absent], start=True)


def test_an_entry_of_several_alike_is_none_of_them() -> None:
    entry = Usb(vendor="0403", product="6001")
    assert not stands_for(HOST, entry, TWINS[0])
    assert stands_for(bus(TWINS[0]), entry, TWINS[0])
    assert stands_for(HOST, Usb(vendor="0403", product="6001", bus=3, device=4), TWINS[0])


def test_what_a_vm_has_is_found_though_it_was_plugged_in_again() -> None:
    was = Usb(vendor="046d", product="c52b", bus=1, device=6)
    assert own(HOST, selector("046d:c52b"))([was]) == [0]
    assert own(HOST, selector("1:6"))([was]) == [0]
    assert own(HOST, selector("1:7"))([was]) == []
    assert own(HOST, selector("1-1.4"))([Usb(vendor="046d", product="c52b"), Usb(bus=1, device=7)]) == [0, 1]


def test_what_the_host_needs_is_refused_unless_it_is_named() -> None:
    known = bus(DISK, needs={"2-1": (Need(code="mounted", sentence="/srv is on sdb1, on sdb"),)})
    error = refusal(check(known, ["2-1"]))
    assert error is not None
    assert (error.code, error.exit_code) == ("device-refused", 5)
    assert error.message == "the host needs 2-1: /srv is on sdb1, on sdb"
    assert "--force-host-device 2-1" in error.hint
    assert refusal(check(known, ["2-1"], forced=("2-1",))) is None
    assert verdict(known, "2-1").word == "needed"


def test_who_has_it() -> None:
    known = bus(MOUSE, DISK, holders={"1-1.4": has("db1"), "2-1": has("db2", running=False)})
    assert [finding.code for finding in check(known, ["1-1.4"])] == ["device-in-use", "host-input"]
    assert refusal(check(known, ["1-1.4"], uuid="uuid of db1")) is None
    assert [(finding.code, finding.verdict) for finding in check(known, ["2-1"])] == [("device-assigned", "note")]
    assert [verdict(known, port).word for port in ("1-1.4", "2-1")] == ["in-use", "free"]


def test_hubs_rights_and_doubles() -> None:
    known = bus(HUB, stick("1-2", usable=False), stick("1-3", usable=True))
    found = {finding.code for finding in check(known, ["1-1", "1-2", "1-3", "1-3"]) if finding.verdict == "blocker"}
    assert found == {"device-hub", "not-privileged", "device-twice"}
    assert verdict(known, "1-2").word == "not-assignable"


def test_the_list_has_no_hubs_and_the_order_of_ports() -> None:
    known = bus(
        stick("usb1", number=1), *HOST.devices.values(), stick("3-2", number=9, ids="1:1"), holders={"2-1": has("db1")}
    )
    assert [item["port"] for item in listed(known)] == ["1-1.4", "2-1", "3-1", "3-2", "3-10"]
    assert "2-1" not in [item["port"] for item in listed(known, free=True)]
