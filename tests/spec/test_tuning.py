"""Keys of which the place in XML depends on what stands beside them: pins, quota and period, schedulers, NUMA cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from kvmctl.spec.declare import read, write
from kvmctl.spec.lenses import edit
from kvmctl.spec.model.numa import Cell, Numa
from kvmctl.spec.model.processor import Cpu, Topology
from kvmctl.spec.model.quota import Period, Quota
from kvmctl.spec.model.tuning import Pin, Scheduler, Schedulers, Wishes
from kvmctl.spec.model.vcpus import Baseline
from kvmctl.spec.xmltext import canonical, parse

PINNED = "<cputune><vcpupin vcpu='0' cpuset='4'/></cputune>"
PIN: dict[int, frozenset[int]] = {0: frozenset({4})}
SET = frozenset({2, 3})


def domain(inner: str) -> Element:
    return parse(f"<domain>{inner}</domain>")


def says(document: Element, inner: str) -> bool:
    return canonical(document) == canonical(domain(inner))


@pytest.mark.parametrize(
    ("before", "pin", "after"),
    [
        ("<vcpu>2</vcpu>", SET, "<vcpu cpuset='2-3' placement='static'>2</vcpu>"),
        ("<vcpu cpuset='2-3'>2</vcpu>", PIN, f"<vcpu>2</vcpu>{PINNED}"),
        (f"<vcpu>2</vcpu>{PINNED}", SET, "<vcpu cpuset='2-3' placement='static'>2</vcpu>"),
        (f"<vcpu cpuset='9'>2</vcpu>{PINNED}", None, "<vcpu>2</vcpu>"),
        # What is said of the whole VM beside the pins of its vCPUs is about its other threads.
        (
            f"<vcpu cpuset='9'>2</vcpu>{PINNED}",
            {0: SET},
            f"<vcpu cpuset='9'>2</vcpu>{PINNED}".replace("'4'", "'2-3'"),
        ),
        ("<vcpu placement='auto'>2</vcpu>", SET, "<vcpu cpuset='2-3' placement='static'>2</vcpu>"),
        (f"<vcpu>2</vcpu>{PINNED}", "auto", f"<vcpu>2</vcpu>{PINNED}"),
    ],
)
def test_pins_change_from_any_form_to_any_other(before: str, pin: Any, after: str) -> None:
    document = domain(before)
    edit(Pin(), document, pin)
    assert says(document, after)
    assert pin == "auto" or Pin().get(document) == pin


def test_where_numad_places_a_vm_its_set_of_cpus_says_nothing() -> None:
    assert Pin().get(domain("<vcpu placement='auto' cpuset='1'>2</vcpu>")) is None


def test_what_is_still_to_be_decided_leaves_the_document_as_it_is() -> None:
    text = f"<vcpu>2</vcpu><cpu mode='maximum'><topology sockets='1' cores='2' threads='1'/></cpu>{PINNED}"
    document = domain(text)
    known: Cpu = read(Cpu, document)
    write(replace(known, pin="auto", topology="auto", model=Baseline(baseline=("a", "b"))), document)
    assert says(document, text)
    assert known.topology == Topology(sockets=1, cores=2, threads=1)


def limits(quota: int, period: int) -> str:
    return f"<cputune><global_period>{period}</global_period><global_quota>{quota}</global_quota></cputune>"


@pytest.mark.parametrize(
    ("before", "quota", "period", "after"),
    [
        ("", 150, None, limits(150_000, 100_000)),
        ("", 150, 50_000, limits(75_000, 50_000)),
        (limits(150_000, 100_000), 150, 10_000, limits(15_000, 10_000)),
        (limits(75_000, 50_000), 200, 50_000, limits(100_000, 50_000)),
        (limits(75_000, 50_000), 150, None, limits(150_000, 100_000)),
        (limits(75_000, 50_000), None, None, ""),
        (limits(-1, 50_000), 100, None, limits(100_000, 100_000)),
    ],
)
def test_a_quota_keeps_its_percentage_whatever_the_period(
    before: str, quota: int | None, period: int | None, after: str
) -> None:
    document = domain(f"<vcpu>1</vcpu>{before}")
    write(Cpu(count=1, quota=quota, period=period), document)
    assert says(document, f"<vcpu>1</vcpu>{after}")
    assert (Quota().get(document), Period().get(document)) == (quota, period)


@pytest.mark.parametrize("foreign", [limits(-1, 100_000), limits(12_345, 100_000), limits(1000, 0)])
def test_limits_that_are_no_percentage_are_left_alone(foreign: str) -> None:
    document = domain(foreign)
    assert (Quota().get(document), Period().get(document)) == (None, None)
    write(Cpu(), document)
    assert says(document, foreign)


def test_a_period_in_fractions_of_a_millisecond_is_left_alone() -> None:
    document = domain(limits(1500, 1500))
    assert (Quota().get(document), Period().get(document)) == (100, None)
    write(Cpu(quota=100), document)
    assert says(document, limits(1500, 1500))


def sched(vcpus: str, policy: str, more: str = "") -> str:
    return f"<vcpusched vcpus='{vcpus}' scheduler='{policy}' {more}/>"


def test_schedulers_that_libvirt_has_torn_apart_are_one() -> None:
    fifo = [sched(number, "fifo", "priority='2'") for number in "013"]
    document = domain(f"<cputune>{sched('2', 'idle')}{''.join(fifo)}{sched('4', 'rr')}</cputune>")
    known = Schedulers().get(document)
    assert known == (
        Scheduler(policy="fifo", priority=2, vcpus=frozenset({0, 1, 3})),
        Scheduler(policy="idle", vcpus=frozenset({2})),
    )
    edit(Schedulers(), document, known[:1])
    rr, one = sched("4", "rr"), sched("0-1,3", "fifo", "priority='2'")
    assert says(document, f"<cputune>{rr}{one}</cputune>")
    edit(Schedulers(), document, ())
    assert says(document, f"<cputune>{rr}</cputune>")


CELLS = """<cpu><numa><cell id='0' cpus='0' memory='1024' unit='KiB' discard='yes'><distances>
  <sibling id='0' value='10'/><sibling id='1' value='21'/></distances></cell>
  <cell id='1' memory='1' unit='MiB'/></numa></cpu>"""
PLACED = "<numatune><memory mode='interleave' nodeset='0-1'/><memnode cellid='1' mode='strict' nodeset='1'/></numatune>"


def test_cells_are_read_with_the_nodes_of_their_memory() -> None:
    known: Numa = read(Numa, domain(CELLS + PLACED))
    assert known == Numa(
        mode="interleave",
        nodes=frozenset({0, 1}),
        cells=(
            Cell(cpus=frozenset({0}), memory=2**20, distances={1: 21}),
            Cell(memory=2**20, nodes=frozenset({1}), mode="strict"),
        ),
    )


def test_cells_are_edited_in_place() -> None:
    document = domain(CELLS + PLACED)
    first, second = read(Numa, document).cells
    write(Numa(cells=(replace(first, nodes=frozenset({0}), mode="preferred", distances={1: 31}),)), document)
    assert says(
        document,
        """<cpu><numa><cell id='0' cpus='0' memory='1024' unit='KiB' discard='yes'><distances>
        <sibling id='0' value='10'/><sibling id='1' value='31'/></distances></cell></numa></cpu>
        <numatune><memnode mode='preferred' nodeset='0' cellid='0'/></numatune>""",
    )
    write(Numa(cells=(first, second)), document)
    assert read(Numa, document) == Numa(cells=(first, second))
    write(Numa(), document)
    assert says(document, "")


@pytest.mark.parametrize("ids", [("1", "0"), ("0", "0"), (None, None), ("0", "2")])
def test_cells_with_numbers_of_their_own_are_left_alone(ids: tuple[str | None, str | None]) -> None:
    document = domain(CELLS)
    for cell, number in zip(document.findall("cpu/numa/cell"), ids):
        cell.attrib.pop("id")
        if number is not None:
            cell.set("id", number)
    before = canonical(document)
    assert read(Numa, document) == Numa()
    write(Numa(), document)
    assert canonical(document) == before


def test_a_distance_of_ten_to_another_cell_is_replaced() -> None:
    document = domain(CELLS.replace("'21'", "'10'"))
    first, second = read(Numa, document).cells
    assert first.distances is None
    write(Numa(cells=(replace(first, distances={1: 30}), second)), document)
    assert [(node.get("id"), node.get("value")) for node in document.iter("sibling")] == [("0", "10"), ("1", "30")]


def test_nodes_take_the_place_of_numad() -> None:
    document = domain("<numatune><memory mode='strict' placement='auto'/></numatune>")
    assert read(Numa, document) == Numa()
    write(Numa(mode="preferred", nodes=frozenset({0})), document)
    assert says(document, "<numatune><memory mode='preferred' nodeset='0'/></numatune>")
    write(Numa(), document)
    assert says(document, "")


def test_wishes_leave_what_is_not_theirs() -> None:
    text = """<metadata xmlns:k='https://kvmctl.dev/xmlns/vm/1'><k:vm><k:spec>x</k:spec>
      <k:placement policy='spread' pin='auto' pooled='yes'/></k:vm></metadata>"""
    document = domain(text)
    known: Cpu = read(Cpu, document)
    assert known.placement == Wishes(policy="spread", automatic=True)
    write(Cpu(placement=Wishes(near=("pci", "eth0"))), document)
    attributes = "near='pci eth0' pooled='yes'"
    assert says(document, text.replace("policy='spread' pin='auto' pooled='yes'", attributes))
    assert read(Cpu, document).placement == Wishes(near=("pci", "eth0"))
