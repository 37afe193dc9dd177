"""Which SCSI device is meant, where it is now, and what stands against giving it away."""

from __future__ import annotations

import pytest

from kvmctl.errors import NotFound, Refused
from kvmctl.plan.pci.facts import Holder, Need
from kvmctl.plan.pci.guard import refusal
from kvmctl.plan.scsi.choose import choose
from kvmctl.plan.scsi.find import addresses_of, find_present, is_same
from kvmctl.plan.scsi.guard import check, verdict
from kvmctl.plan.scsi.identity import identity, lost, places
from kvmctl.plan.scsi.listing import listed
from kvmctl.spec.model.scsi import Scsi, selector
from tests.plan.pci.world import has
from tests.plan.scsi.world import disk, units

WWN, OTHER = "0x5000c500a1b2c3d4", "0x5000c500a1b2c3d5"
DISK = disk("2:0:0:0", "sdb", wwn=WWN, serial="SN-1", links=("/dev/disk/by-id/scsi-1",))
BARE = disk("3:0:0:0", "sdc")
TAPE = disk("4:0:1:0", kind="tape", nodes=("st0", "nst0", "sg4"), serial="T 1")
WAYS = (disk("5:0:0:1", "sdd", wwn=OTHER), disk("10:0:0:1", "sde", wwn=OTHER))
HOST = units(DISK, BARE, TAPE, *WAYS)
MOUNTED = {"5:0:0:1": (Need(code="mounted", sentence="/srv is on sdd1, on sdd"),)}


@pytest.mark.parametrize(
    "word",
    [
        *("2:0:0:0", "[2:0:0:0]", "02:0:0:00", "sdb", "/dev/sdb", "/dev/disk/by-id/scsi-1", "SN-1"),
        *(WWN, "naa.5000C500A1B2C3D4", "wwn-0x5000c500a1b2c3d4", "5000C500A1B2C3D4"),
    ],
)
def test_every_way_to_name_one(word: str) -> None:
    assert find_present(HOST, selector(word)) == DISK


def test_a_stick_by_its_serial_number() -> None:
    slots = units(*(disk(f"6:0:0:{lun}", serial=f"SN-7-0:{lun}") for lun in (0, 1)))
    assert find_present(slots, selector("SN-7-0:1")).address == "6:0:0:1"
    with pytest.raises(Refused, match="has 2 SCSI devices"):
        find_present(slots, selector("SN-7"))
    assert find_present(units(slots.devices["6:0:0:0"]), selector("SN-7")).address == "6:0:0:0"


def test_a_tape_by_its_names() -> None:
    for word in ("st0", "nst0", "/dev/sg4", "T 1"):
        assert find_present(HOST, selector(word)) == TAPE


@pytest.mark.parametrize(
    "word", ["", "2:0:0", "2:0:0:", "1:2:3:4:5", "/srv/a", "/dev/../etc", "-1", "a/b", "a\nb", "a" * 81]
)
def test_words_that_name_none(word: str) -> None:
    with pytest.raises(ValueError, match=r"SCSI device|/dev/|'\.\.'"):
        selector(word)


def test_what_is_not_there_and_what_is_twice() -> None:
    with pytest.raises(NotFound, match="host1 has no SCSI device SN-2") as caught:
        find_present(HOST, selector("SN-2"))
    assert caught.value.hint == "did you mean SN-1?"
    with pytest.raises(Refused, match="has 2 SCSI devices that are") as refused:
        find_present(HOST, selector(OTHER))
    assert (refused.value.code, refused.value.hint) == ("device-ambiguous", "name one by its address, 10:0:0:1")


def test_the_entries_of_a_spec_get_addresses() -> None:
    chosen = choose(
        HOST, [Scsi(device="SN-1", readonly=True), Scsi(path="/dev/sdc"), Scsi(device="9:0:0:0")], start=False
    )
    assert chosen.entries == (Scsi(address="2:0:0:0", readonly=True), Scsi(address="3:0:0:0"), Scsi(address="9:0:0:0"))
    [said] = chosen.sentences
    assert said.startswith("3:0:0:0 has neither WWN nor serial number")
    for entry, start in ((Scsi(device="9:0:0:0"), True), (Scsi(device="SN-9"), False)):
        with pytest.raises(NotFound):
            choose(HOST, [entry], start=start)


def test_what_tells_a_device_from_another() -> None:
    was = identity(DISK)
    assert was == {"address": "2:0:0:0", "product": "ACME Disk", "serial": "SN-1", "wwn": WWN}
    assert is_same(was, disk("7:0:0:0", wwn=WWN))
    assert not is_same(was, disk("2:0:0:0", wwn=OTHER, serial="SN-1"))
    # One side may tell less: a WWN alone, a serial number alone, nothing.
    assert is_same(was, disk("7:0:0:0", serial="SN-1"))
    assert not is_same({"address": "2:0:0:0", "serial": "SN-2"}, DISK)
    assert is_same({"address": "2:0:0:0"}, DISK)
    assert not is_same({"address": "2:0:0:0", "product": "ACME Tape"}, DISK)
    assert not is_same(identity(BARE), disk("3:0:0:1"))
    # From elsewhere nothing may be told of it, and then there is only the address; but silence is no match.
    silent = disk("2:0:0:0", vendor="", model="")
    assert is_same(was, silent)
    assert not is_same(was, disk("2:0:0:0"))
    assert places(units(silent, disk("7:0:0:0", serial="SN-1")), [was]) == {"2:0:0:0": "7:0:0:0"}


def test_devices_are_where_they_are_now() -> None:
    kept = [identity(DISK), identity(BARE)]
    now = units(disk("2:0:0:0", wwn=OTHER), disk("9:0:0:0", wwn=WWN), BARE)
    assert places(HOST, kept) == {"2:0:0:0": "2:0:0:0", "3:0:0:0": "3:0:0:0"}
    assert places(now, kept) == {"2:0:0:0": "9:0:0:0", "3:0:0:0": "3:0:0:0"}
    assert places(now, kept, forced=("2:0:0:0",))["2:0:0:0"] == "2:0:0:0"
    # Of several ways to it the one that it had, or else any.
    way = identity(WAYS[1])
    assert places(HOST, [way]) == {"10:0:0:1": "10:0:0:1"}
    assert places(units(disk("6:0:0:0", wwn=OTHER), disk("7:0:0:0", wwn=OTHER)), [way]) == {"10:0:0:1": "6:0:0:0"}


def test_devices_that_are_nowhere() -> None:
    kept = [identity(DISK)]
    gone, other = units(BARE), units(disk("2:0:0:0", wwn=OTHER))
    twins = units(disk("2:0:0:0", serial="SN-9"), disk("7:0:0:0", serial="SN-1"), disk("8:0:0:0", serial="SN-1"))
    for known, code in ((gone, "device-missing"), (other, "device-moved"), (twins, "device-moved")):
        assert places(known, kept) == {}
        [finding] = lost(known, kept, {})
        assert (finding.code, finding.verdict) == (code, "blocker")
        assert f"ACME Disk {WWN}" in finding.what
    assert "it may be 7:0:0:0 or 8:0:0:0 now" in finding.hint
    assert not list(lost(HOST, kept, places(HOST, kept)))


def test_what_the_host_needs_is_refused_unless_it_is_named() -> None:
    known = units(*WAYS, needs=MOUNTED)
    error = refusal(check(known, ["5:0:0:1"]))
    assert error is not None
    assert (error.code, error.exit_code) == ("device-refused", 5)
    assert error.message == "the host needs 5:0:0:1: /srv is on sdd1, on sdd"
    assert "--force-host-device 5:0:0:1" in error.hint
    for word in ("5:0:0:1", "/dev/sdd"):
        assert refusal(check(known, ["5:0:0:1"], forced=(word,))) is None
    assert refusal(check(known, ["5:0:0:1"], forced=("/dev/sde", "3b:00.0", "1-1.4"))) is not None


def test_what_is_needed_by_one_way_is_needed_by_all() -> None:
    known = units(*WAYS, BARE, needs=MOUNTED, holders={"5:0:0:1": has("db1")})
    found = refusal(check(known, ["10:0:0:1"]))
    assert found is not None
    reasons = found.as_dict()["reasons"]
    assert [reason["code"] for reason in reasons] == ["device-in-use", "host-needs-device"]
    assert "by another way to it, 5:0:0:1" in reasons[1]["message"]
    assert verdict(known, "10:0:0:1").word == "needed"
    assert verdict(known, "3:0:0:0").word == "free"


def test_who_has_it_and_who_shares_it() -> None:
    shares = Holder(vm="db3", uuid="u", running=True, shares=True)
    known = units(
        DISK, BARE, TAPE, holders={"2:0:0:0": has("db1"), "3:0:0:0": has("db2", running=False), "4:0:1:0": (shares,)}
    )
    assert [finding.code for finding in check(known, ["2:0:0:0"])] == ["device-in-use"]
    assert refusal(check(known, ["2:0:0:0"], uuid="uuid of db1")) is None
    assert refusal(check(known, ["2:0:0:0"], shared=("2:0:0:0",))) is not None
    assert refusal(check(known, ["4:0:1:0"])) is not None
    assert refusal(check(known, ["4:0:1:0"], shared=("4:0:1:0",))) is None
    assert [(each.code, each.verdict) for each in check(known, ["3:0:0:0"])] == [("device-assigned", "note")]
    assert [verdict(known, address).word for address in known.devices] == ["in-use", "free", "in-use"]


def test_arrays_rights_and_doubles() -> None:
    known = units(
        disk("1:3:0:0", kind="controller"),
        disk("2:0:0:0", generic="sg1", usable=False),
        disk("3:0:0:0", generic=""),
        disk("4:0:0:0", generic="sg2", usable=True),
    )
    found = check(known, [*known.devices, "4:0:0:0"])
    blockers = {finding.code for finding in found if finding.verdict == "blocker"}
    assert blockers == {"device-controller", "not-privileged", "no-generic-device", "device-twice"}
    assert [verdict(known, address).word for address in known.devices] == [*["not-assignable"] * 3, "free"]


def test_the_list_is_in_the_order_of_addresses() -> None:
    known = units(*HOST.devices.values(), holders={"2:0:0:0": has("db1")})
    assert [item["address"] for item in listed(known)] == ["2:0:0:0", "3:0:0:0", "4:0:1:0", "5:0:0:1", "10:0:0:1"]
    assert [item["address"] for item in listed(known, free=True)][:2] == ["3:0:0:0", "4:0:1:0"]
    tape = listed(known)[2]
    assert (tape["kind"], tape["block"], tape["size"], tape["nodes"]) == ("tape", None, None, ["st0", "nst0", "sg4"])


def test_words_of_any_bus() -> None:
    assert addresses_of(HOST, ["0000:3b:00.0", "1-1.4", "/dev/sdc", "2:0:0:0", "SN-1", "9:9:9:9"]) == {
        "2:0:0:0",
        "3:0:0:0",
    }
