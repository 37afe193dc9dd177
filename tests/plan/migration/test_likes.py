"""Network devices of the host in a VM that moves: which of the target it gets, and how that is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmctl.plan.migration.check_devices import devices
from kvmctl.plan.migration.check_postcopy import reasons
from kvmctl.plan.migration.likes import carried, likes, swap
from kvmctl.plan.pci.facts import Inventory
from kvmctl.spec.metadata import NAMESPACE
from kvmctl.spec.model.trust import functions_of
from kvmctl.spec.xmltext import parse, render
from tests.plan.migration.healthy import domain, ends, guest
from tests.plan.pci.world import device, has, host

PF, FIRST, SECOND = "0000:01:00.0", "0000:01:10.0", "0000:01:10.2"
DISK = "0000:81:00.0"
CARD = (
    "<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:0{n}'/>{more}"
    "<source>{place}</source></interface>"
)
WHOLE = "<hostdev mode='subsystem' type='pci' managed='yes'><source>{place}</source></hostdev>"


def place(address: str) -> str:
    bus, slot, function = address[5:7], address[8:10], address[11]
    return f"<address type='pci' domain='0x0000' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"


def card(address: str, n: int = 1, more: str = "") -> str:
    return CARD.format(n=n, place=place(address), more=more)


def functions(*taken: str) -> Inventory:
    """A card with two functions, and a disk; VMs have some of them."""
    return host(
        device(PF, group=1, virtual_functions=(FIRST, SECOND), link_up=True),
        device(FIRST, group=2, product="10ca", physical_function=PF),
        device(SECOND, group=3, product="10ca", physical_function=PF),
        device(DISK, "nvme", group=4),
        holders={address: has("other") for address in taken},
    )


def test_the_same_place_is_taken_first_and_none_twice() -> None:
    one = parse(f"<d><devices>{card(SECOND)}</devices></d>")
    assert likes([one], functions(), functions()) == {SECOND: SECOND}
    assert likes([one], functions(), functions(SECOND)) == {SECOND: FIRST}
    assert likes([one], functions(), functions(FIRST, SECOND)) == {SECOND: ""}
    two = parse(f"<d><devices>{card(FIRST)}{card(SECOND, 2)}</devices></d>")
    assert likes([two], functions(), functions(FIRST)) == {FIRST: SECOND, SECOND: ""}


def test_only_network_devices_have_likes() -> None:
    document = parse(f"<d><devices>{WHOLE.format(place=place(DISK))}{WHOLE.format(place=place(FIRST))}</devices></d>")
    assert likes([document], functions(), functions()) == {FIRST: FIRST}


def test_a_device_whose_driver_saves_its_state_goes_along() -> None:
    saving = functions()
    for address, driver in ((FIRST, "mlx5_vfio_pci"), (SECOND, "vfio-pci"), (DISK, "nvme_vfio_pci")):
        saving = replace(saving, devices={**saving.devices, address: replace(saving.devices[address], driver=driver)})
    document = parse(f"<d><devices>{WHOLE.format(place=place(DISK))}{card(FIRST)}{card(SECOND, 2)}</devices></d>")
    assert likes([document], saving, functions()) == {FIRST: FIRST, SECOND: SECOND, DISK: DISK}
    assert carried([document], saving) == (FIRST, DISK)
    assert carried([document], functions()) == ()
    vm = guest(domain(devices=card(FIRST)))
    ends_with = replace(ends(vm), likes={FIRST: SECOND}, carried=(FIRST,))
    assert "the state of a device goes along" in "; ".join(reasons(ends_with))


def test_a_function_is_not_like_a_card() -> None:
    cards = functions()
    others = replace(cards, devices={PF: replace(cards.devices[PF], product="10ca", virtual_functions=())})
    document = parse(f"<d><devices>{card(FIRST)}</devices></d>")
    assert likes([document], cards, others) == {FIRST: ""}
    # A host whose devices cannot be seen has none that is known to be like it.
    assert likes([document], replace(cards, devices={}), cards) == {FIRST: ""}


def test_definitions_name_the_devices_of_the_target() -> None:
    document = parse(f"<d><devices>{card(FIRST)}{WHOLE.format(place=place(DISK))}</devices></d>")
    swap(document, {FIRST: SECOND, DISK: ""})
    text = render(document)
    assert 'slot="0x10" function="0x2"' in text
    assert 'bus="0x81"' in text


KEPT = f"""<metadata xmlns:kvmctl='{NAMESPACE}'><kvmctl:vm>
  <kvmctl:function address='{FIRST}' trust='yes' spoof_check='no'/></kvmctl:vm></metadata>"""


def test_what_is_kept_of_a_function_is_kept_of_its_like() -> None:
    document = parse(f"<d>{KEPT}<devices>{card(FIRST)}</devices></d>")
    swap(document, {FIRST: SECOND})
    assert functions_of(document) == {SECOND: {"trust": True, "spoof_check": False}}
    swap(document, {FIRST: PF, SECOND: ""})
    assert [*functions_of(document)] == [SECOND]


@pytest.mark.parametrize("more", ["", "<teaming type='transient' persistent='ua-lan'/>"])
def test_nobody_trusts_it_at_the_target_before_it_is_started_there(more: str) -> None:
    vm = guest(domain(top=KEPT, devices=card(FIRST, more=more)))
    [finding] = devices(replace(ends(vm), likes={FIRST: SECOND}))
    said = f"gets {SECOND} there, without trust: true and spoof_check: false until it is started there"
    assert finding.what.endswith(said)


@pytest.mark.parametrize(
    ("found", "more", "running", "code", "verdict", "said"),
    [
        (SECOND, "", True, "device-swapped", "note", f"must let go of it for the move, and gets {SECOND} there"),
        (SECOND, "", False, "device-swapped", "note", f"gets {SECOND} there"),
        (SECOND, "<teaming type='transient' persistent='ua-lan'/>", True, "failover-device", "note", "its twin takes"),
        ("", "", True, "host-device", "blocker", "has no free one like it"),
    ],
)
def test_what_becomes_of_it_is_told(found: str, more: str, running: bool, code: str, verdict: str, said: str) -> None:
    vm = replace(guest(domain(devices=card(FIRST, more=more), running=running)), running=running)
    [finding] = devices(replace(ends(vm), likes={FIRST: found}))
    assert (finding.code, finding.verdict, finding.subject) == (code, verdict, FIRST)
    assert said in finding.what
