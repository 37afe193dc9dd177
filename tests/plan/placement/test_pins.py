"""What a definition says of pins, schedulers and limits, and edits of it that leave everything else alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from kvmctl.plan.placement.pins import (
    Pins,
    erase,
    iothreads_of,
    most_vcpus,
    pins_of,
    placement_of,
    put_back,
    write_pins,
)
from kvmctl.plan.placement.sides import EMULATOR, in_words, names_of, online_vcpus, places, side_of
from kvmctl.plan.placement.tuning import (
    OTHER,
    Policy,
    Schedulers,
    Tuning,
    numbers_of,
    schedulers_of,
    tuning_of,
    write_number,
    write_schedulers,
)
from kvmctl.spec.metadata import NAMESPACE
from kvmctl.spec.xmltext import canonical, parse

FIFO = Policy(name="fifo", priority=10)
BATCH = Policy(name="batch")
RICH = """
<domain>
  <name>web1</name>
  <metadata><x:mine xmlns:x='urn:x'><x:note>kept</x:note></x:mine></metadata>
  <vcpu placement='static' cpuset='0-7' current='2'>4</vcpu>
  <iothreads>3</iothreads>
  <iothreadids><iothread id='1'/><iothread id='4'/></iothreadids>
  <cputune>
    <shares>512</shares>
    <global_period>50000</global_period><global_quota>75000</global_quota>
    <period>100000</period><quota>-1</quota>
    <emulator_period>100000</emulator_period><emulator_quota>20000</emulator_quota>
    <vcpupin vcpu='1' cpuset='4-5,^5'/>
    <emulatorpin cpuset='2'/>
    <iothreadpin iothread='4' cpuset='3'/>
    <vcpusched vcpus='0-1' scheduler='fifo' priority='10'/>
    <emulatorsched scheduler='idle'/>
    <iothreadsched iothreads='4' scheduler='batch'/>
    <cachetune vcpus='0'><cache id='0' level='3' type='both' size='3' unit='MiB'/></cachetune>
  </cputune>
  <numatune><memory mode='interleave' nodeset='0-1'/><memnode cellid='0' mode='strict' nodeset='0'/></numatune>
  <devices><emulator>/usr/bin/qemu</emulator></devices>
</domain>
"""
PLAIN = "<domain><name>web1</name><vcpu>2</vcpu><devices/></domain>"


def cpus(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def edited(text: str, *edits: Callable[[Element], Any]) -> Element:
    document = parse(text)
    for edit in edits:
        edit(document)
    return document


def test_what_a_definition_says_of_pins() -> None:
    whole = frozenset(range(8))
    assert pins_of(parse(RICH)) == Pins(
        vcpus={0: whole, 1: cpus(4), 2: whole, 3: whole},
        emulator=cpus(2),
        iothreads={1: whole, 2: whole, 4: cpus(3)},
        nodes=cpus(0, 1),
        mode="interleave",
    )
    assert pins_of(parse(PLAIN)) == Pins(vcpus={}, iothreads={})
    assert pins_of(parse("<domain><numatune><memory nodeset='1'/></numatune></domain>")).mode == "strict"


def test_the_threads_of_a_vm() -> None:
    document = parse(RICH)
    assert (most_vcpus(document), iothreads_of(document), online_vcpus(document)) == (4, (1, 2, 4), cpus(0, 1))
    assert (most_vcpus(parse(PLAIN)), iothreads_of(parse(PLAIN)), online_vcpus(parse(PLAIN))) == (2, (), cpus(0, 1))
    plugged = "<vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no'/>"
    assert online_vcpus(parse(f"<domain>{plugged}<vcpu id='2' enabled='yes'/></vcpus></domain>")) == cpus(0, 2)
    assert [in_words(name) for name in names_of(parse(PLAIN))] == ["vCPU 0", "vCPU 1", "the emulator"]
    assert in_words(names_of(document)[-1]) == "iothread 4"


def test_what_a_definition_says_of_time() -> None:
    assert tuning_of(parse(RICH)) == Tuning(shares=512, quota=150, period_us=50000, emulator_quota=20)
    assert tuning_of(parse(PLAIN)) == Tuning()
    assert numbers_of(parse(RICH)) == {"shares": 512, "global_period": 50000, "global_quota": 75000}
    assert schedulers_of(parse(RICH)) == Schedulers(
        vcpus={0: FIFO, 1: FIFO}, emulator=Policy(name="idle"), iothreads={4: BATCH}
    )
    assert not schedulers_of(parse(PLAIN))
    assert str(FIFO) == "fifo:10"


def test_one_side_thread_by_thread() -> None:
    side = side_of(parse(RICH))
    assert (side.pin(("vcpu", 1)), side.pin(EMULATOR), side.pin(("iothread", 4))) == (cpus(4), cpus(2), cpus(3))
    assert (side.policy(("vcpu", 0)), side.policy(("vcpu", 3))) == (FIFO, OTHER)
    assert (side.policy(EMULATOR).name, side.policy(("iothread", 4))) == ("idle", BATCH)
    plain = side_of(parse(PLAIN))
    assert (plain.pin(("vcpu", 0)), plain.pin(EMULATOR), plain.policy(EMULATOR)) == (None, None, OTHER)
    assert places(side, [("vcpu", 1), ("iothread", 4)], cpus(3, 4)) == {"vCPU 1": "4", "iothread 4": "3"}
    assert places(plain, [EMULATOR], cpus(0, 1)) == {"the emulator": "0-1"}


def test_pins_are_written_and_the_rest_stays() -> None:
    wanted = Pins(vcpus={0: cpus(6), 1: cpus(7)}, emulator=cpus(0, 1), iothreads={1: cpus(5)}, nodes=cpus(1))
    document = edited(RICH, lambda domain: write_pins(domain, wanted))
    after = pins_of(document)
    assert (after.vcpus or {})[0] == cpus(6)
    assert (after.emulator, (after.iothreads or {})[1], (after.iothreads or {})[4]) == (cpus(0, 1), cpus(5), cpus(3))
    assert (after.nodes, after.mode) == (cpus(1), "interleave")
    put_back(document, parse(RICH))
    assert canonical(document) == canonical(parse(RICH))
    fresh = edited(PLAIN, lambda domain: write_pins(domain, wanted))
    assert pins_of(fresh) == Pins(
        vcpus={0: cpus(6), 1: cpus(7)}, emulator=cpus(0, 1), iothreads={1: cpus(5)}, nodes=cpus(1), mode="strict"
    )
    moded = edited(PLAIN, lambda domain: write_pins(domain, Pins(nodes=cpus(0), mode="preferred")))
    assert pins_of(moded).mode == "preferred"
    assert canonical(edited(PLAIN, lambda domain: write_pins(domain, Pins()))) == canonical(parse(PLAIN))


def test_what_was_put_back_is_a_copy() -> None:
    before = parse(RICH)
    document = edited(PLAIN, lambda domain: put_back(domain, before))
    erase(document)
    assert canonical(before) == canonical(parse(RICH))


def test_everything_is_erased_but_shares_and_quota() -> None:
    document = edited(RICH, erase)
    assert pins_of(document) == Pins(vcpus={}, iothreads={})
    assert not schedulers_of(document)
    assert tuning_of(document) == tuning_of(parse(RICH))
    assert document.find("cputune/cachetune") is not None
    assert document.find("numatune") is None
    assert [child.tag for child in edited(PLAIN, lambda domain: write_pins(domain, Pins(emulator=cpus(1))), erase)] == [
        "name",
        "vcpu",
        "devices",
    ]
    numbered = "<domain><iothreads>2</iothreads><iothreadids>{}</iothreadids></domain>"
    one, two, poll = "<iothread id='1'/>", "<iothread id='2'/>", "<iothread id='2'><poll max='9'/></iothread>"
    assert edited(numbered.format(one + two), erase).find("iothreadids") is None
    for kept in (one + "<iothread id='3'/>", one + "<iothread id='2' thread_pool_min='1'/>", one + poll):
        assert canonical(edited(numbered.format(kept), erase)) == canonical(parse(numbered.format(kept)))
    placed = edited("<domain><vcpu placement='auto' cpuset='1'>2</vcpu></domain>", erase)
    vcpu = placed.find("vcpu")
    assert vcpu is not None
    assert vcpu.attrib == {"placement": "static"}


def test_putting_back_where_the_whole_vm_is() -> None:
    before = parse("<domain><vcpu placement='auto' cpuset='1'>2</vcpu></domain>")
    document = edited("<domain><vcpu cpuset='3'>2</vcpu><cputune/></domain>", lambda domain: put_back(domain, before))
    assert canonical(document) == canonical(before)


@pytest.mark.parametrize(
    ("wanted", "vcpus"),
    [
        (Schedulers(vcpus={1: BATCH}), {0: FIFO, 1: BATCH}),
        (Schedulers(vcpus={2: FIFO}), {0: FIFO, 1: FIFO, 2: FIFO}),
        (Schedulers(vcpus={0: OTHER}), {1: FIFO}),
        (Schedulers(vcpus={0: OTHER, 1: OTHER}), {}),
        (Schedulers(emulator=OTHER), {0: FIFO, 1: FIFO}),
    ],
)
def test_schedulers_are_written_and_those_of_others_stay(wanted: Schedulers, vcpus: dict[int, Policy]) -> None:
    document = edited(RICH, lambda domain: write_schedulers(domain, wanted))
    after = schedulers_of(document)
    assert after.vcpus == vcpus
    assert after.iothreads == {4: BATCH}
    assert after.emulator == (None if wanted.emulator == OTHER else Policy(name="idle"))
    assert tuning_of(document) == tuning_of(parse(RICH))


def test_vcpus_of_one_policy_are_written_together() -> None:
    wanted = Schedulers(vcpus={0: FIFO, 1: BATCH, 2: FIFO}, iothreads={1: FIFO}, emulator=BATCH)
    document = edited(PLAIN, lambda domain: write_schedulers(domain, wanted))
    assert [element.attrib for element in document.findall("cputune/*")] == [
        {"vcpus": "0,2", "scheduler": "fifo", "priority": "10"},
        {"vcpus": "1", "scheduler": "batch"},
        {"iothreads": "1", "scheduler": "fifo", "priority": "10"},
        {"scheduler": "batch"},
    ]
    assert canonical(edited(PLAIN, lambda domain: write_schedulers(domain, Schedulers()))) == canonical(parse(PLAIN))


def test_numbers_are_written_and_taken_away() -> None:
    document = edited(PLAIN, lambda domain: write_number(domain, "shares", 7))
    assert document.findtext("cputune/shares") == "7"
    write_number(document, "shares", None)
    assert canonical(document) == canonical(parse(PLAIN))
    write_number(document, "shares", None)


def test_the_wish_that_is_kept_with_a_vm() -> None:
    inside = "<k:placement policy='spread' pin='auto'/>"
    text = f"<domain><metadata><k:vm xmlns:k='{NAMESPACE}'>{inside}</k:vm></metadata></domain>"
    assert placement_of(parse(text)) == {"policy": "spread", "pin": "auto"}
    assert placement_of(parse(PLAIN)) is None
