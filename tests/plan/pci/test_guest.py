"""Where in the guest devices stand: functions together, on a bus of a node, and never where something else is."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmctl.errors import Refused
from kvmctl.plan.export import export, made, same
from kvmctl.plan.facts import HostFacts
from kvmctl.plan.pci import buses
from kvmctl.plan.pci.choose import Taste, choose
from kvmctl.plan.pci.guest_node import settled
from kvmctl.plan.resolve import resolve
from kvmctl.plan.shorten import shorten
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.numa import Cell, Numa
from kvmctl.spec.model.pci import Pci
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.xmltext import parse, render
from tests.plan.pci.world import device, host

GIB = 2**30
GPU, SOUND, DISK = "0000:41:00.0", "0000:41:00.1", "0000:61:00.0"
KNOWN = host(
    device(GPU, "gpu", group=3, numa_node=1),
    device(SOUND, "audio", group=3, numa_node=1),
    device("0000:42:00.0", "usb", group=3, numa_node=1),
    device(DISK, "nvme", group=4),
)
CELLS = Numa(
    cells=tuple(Cell(cpus=frozenset({n}), memory=GIB, nodes=frozenset({n})) for n in range(2)), nodes=frozenset({0, 1})
)


def vm(*entries: Pci, cells: Numa | None = CELLS, raw: str = "", machine: str | None = None) -> Vm:
    return Vm(
        name="web1",
        machine=machine,
        cpu=Cpu(count=2),
        memory=Memory(size=2 * GIB),
        numa=cells,
        pci=entries,
        raw_xml=f"<domain><devices>{raw}</devices></domain>" if raw else None,
    )


def document(*entries: Pci, **more: object) -> Element:
    return resolve(vm(*entries, **more), HostFacts()).document()  # type: ignore[arg-type]


def places(domain: Element) -> list[str]:
    """Where each device of the host stands, as lspci would write it; + for a function that says there are more."""
    found = [buses.place_of(device) for device in domain.iterfind("devices/hostdev")]
    return [
        f"{place.bus:02x}:{place.slot:02x}.{place.function}{'+' * place.multifunction}" if place else ""
        for place in found
    ]


def roots(domain: Element) -> Mapping[str | None, tuple[str | None, str | None]]:
    """Number and node of each further root, by its index."""
    found = domain.iterfind("devices/controller[@model='pcie-expander-bus']")
    return {root.get("index"): (root.find("target").get("busNr"), root.findtext("target/node")) for root in found}  # type: ignore[union-attr]


def both(**wishes: object) -> tuple[Pci, Pci]:
    return Pci(address=GPU, **wishes), Pci(address=SOUND, **wishes)  # type: ignore[arg-type]


def test_without_a_wish_all_is_left_to_libvirt() -> None:
    assert places(document(Pci(address=GPU), Pci(address=SOUND, together=False))) == ["", ""]
    assert places(document(Pci(address=GPU, together=True))) == [""], "one function alone has nothing to be with"


def test_functions_keep_their_numbers_in_one_slot() -> None:
    domain = document(*both(together=True))
    assert places(domain) == ["01:00.0+", "01:00.1"]
    [port] = domain.iterfind("devices/controller[@type='pci']")
    assert (port.get("model"), port.get("index"), port.find("address")) == ("pcie-root-port", "1", None)


def test_one_that_says_so_is_enough_and_one_may_stay_apart() -> None:
    third = "0000:41:00.2"
    domain = document(Pci(address=SOUND), Pci(address=third, together=False), Pci(address=GPU, together=True))
    assert places(domain) == ["01:00.1", "", "01:00.0+"]


def test_without_a_function_0_the_lowest_becomes_it() -> None:
    entries = [Pci(address=f"0000:3b:10.{number}", together=True) for number in (3, 2, 7)]
    assert places(document(*entries)) == ["01:00.3", "01:00.0+", "01:00.7"]


def test_functions_of_different_slots_are_not_together() -> None:
    domain = document(*both(together=True), *(Pci(address=f"0000:42:00.{n}", together=True) for n in range(2)))
    assert places(domain) == ["01:00.0+", "01:00.1", "02:00.0+", "02:00.1"]


def test_a_conventional_bus_has_slots_from_the_top() -> None:
    raw = "<sound model='ich6'><address type='pci' slot='31'/></sound>"
    assert places(document(*both(together=True), machine="pc", raw=raw)) == ["00:1e.0+", "00:1e.1"]
    full = "".join(f"<sound model='ich6'><address type='pci' slot='{slot}'/></sound>" for slot in range(3, 32))
    with pytest.raises(Refused, match="no PCI slots left") as caught:
        document(*both(together=True), machine="pc", raw=full)
    assert caught.value.code == "impossible"


@pytest.mark.parametrize("root", ["pcie-root", "pci-root"])
def test_the_root_that_raw_xml_names_counts_more_than_the_machine(root: str) -> None:
    raw = f"<controller type='pci' index='0' model='{root}'/>"
    domain = document(*both(together=True), machine="odd", raw=raw)
    assert places(domain)[0] == {"pcie-root": "01:00.0+", "pci-root": "00:1f.0+"}[root]


def test_a_node_has_one_root_with_a_port_for_each() -> None:
    domain = document(*both(together=True, guest_node=1), Pci(address=DISK, guest_node=1))
    assert roots(domain) == {"1": ("253", "1")}
    assert places(domain) == ["02:00.0+", "02:00.1", "03:00.0"]
    ports = domain.findall("devices/controller[@model='pcie-root-port']")
    assert [buses.place_of(port) for port in ports] == [buses.Place(bus=1, slot=n, function=0) for n in range(2)]
    assert [buses.node_of(domain, bus) for bus in range(4)] == [None, 1, 1, 1]


def test_each_node_has_its_own_and_room_for_its_buses() -> None:
    domain = document(Pci(address=GPU, guest_node=1), Pci(address=SOUND, guest_node=0), Pci(address=DISK, guest_node=1))
    assert roots(domain) == {"1": ("254", "0"), "3": ("251", "1")}


def test_nothing_collides_with_what_raw_xml_has() -> None:
    raw = """
    <controller type='pci' index='2' model='pcie-expander-bus'><target busNr='252'/></controller>
    <controller type='pci' index='3' model='pcie-root-port'><address type='pci' bus='2' slot='0'/></controller>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='usb' index='4'/>
    <sound model='ich9'><address type='pci' bus='0x1'/></sound>
    """
    domain = document(Pci(address=GPU, guest_node=0), Pci(address=SOUND, guest_node=1), raw=raw)
    assert roots(domain) == {"2": ("252", None), "4": ("254", "0"), "6": ("250", "1")}
    assert places(domain) == ["05:00.0", "07:00.0"]


def test_bus_numbers_end() -> None:
    wide = "".join(
        f"<controller type='pci' index='{n}' model='pcie-expander-bus'><target busNr='{n}'/></controller>"
        for n in range(1, 255)
    )
    with pytest.raises(Refused, match="no PCI bus numbers left"):
        document(Pci(address=GPU, guest_node=0), raw=wide)
    with pytest.raises(Refused, match="no PCI slots left"):
        document(*(Pci(address=f"0000:{bus:02x}:00.0", guest_node=0) for bus in range(33)))


def test_odd_numbers_of_raw_xml_are_left_to_libvirt() -> None:
    raw = """
    <controller type='pci' index='x' model='pcie-root-port'><address type='pci' bus='?' slot='0'/></controller>
    <controller type='pci' index='1' model='pcie-root-port'><address type='pci' bus='2' slot='0'/></controller>
    <controller type='pci' index='2' model='pcie-root-port'><address type='pci' bus='1' slot='0'/></controller>
    <controller type='pci' index='3' model='pcie-expander-bus'><target busNr='many'/></controller>
    """
    domain = document(Pci(address=GPU, guest_node=0), raw=raw)
    assert places(domain) == ["05:00.0"]
    assert buses.node_of(domain, 1) is None, "bridges that hang on each other end somewhere"


@pytest.mark.parametrize(
    ("entries", "more", "message"),
    [
        (both(together=True), {"machine": "microvm"}, "machine microvm has no PCI slots"),
        ([Pci(address=GPU, guest_node=0)], {"machine": "pc-i440fx-7.2"}, "has no PCI Express"),
        ([Pci(address=GPU, guest_node=2)], {}, "no such node; the highest is 1"),
        ([Pci(address=GPU, guest_node=0)], {"cells": None}, "which has no such node"),
        (
            [Pci(address=GPU, guest_node=0, together=True), Pci(address=SOUND, guest_node=1)],
            {},
            "0000:41:00 cannot be together on the guest's nodes 0 and 1",
        ),
        (
            both(together=True),
            {"raw": "<hostdev/><hostdev><address type='pci' bus='0' slot='9'/></hostdev>"},
            f"asked for {SOUND}, and raw_xml gives it another address",
        ),
        (
            both(together=True),
            {"raw": "<hostdev><address type='unassigned'/></hostdev>"},
            f"asked for {GPU}, and raw_xml gives it another address",
        ),
    ],
)
def test_what_cannot_be_is_refused(entries: list[Pci], more: dict[str, object], message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        document(*entries, **more)
    assert caught.value.code in ("not-supported", "impossible")
    assert (caught.value.vm, bool(caught.value.hint)) == ("web1", True)


def test_an_address_that_leaves_all_to_libvirt_is_none() -> None:
    raw = "<hostdev><address type='pci'/></hostdev>"
    assert places(document(*both(together=True), raw=raw)) == ["01:00.0+", "01:00.1"]


WISHES: list[tuple[Pci, ...]] = [
    both(together=True),
    both(together=True, guest_node=1),
    (Pci(address=GPU, guest_node=0), Pci(address=SOUND, guest_node=1)),
    (Pci(address="0000:3b:10.1", together=True), Pci(address="0000:3b:10.2", together=True)),
    (*both(together=True), Pci(address="0000:41:00.2", together=False)),
]


@pytest.mark.parametrize("entries", WISHES)
def test_wishes_are_read_back_and_the_document_stays(entries: tuple[Pci, ...]) -> None:
    domain = document(*entries)
    apart = domain.findall("devices/hostdev")[2:]
    for device_of_it in apart:  # as libvirt does where nothing is said
        device_of_it.append(parse("<address type='pci' domain='0x0000' bus='0x00' slot='0x09' function='0x0'/>"))
    again = export(parse(render(domain)))
    assert [(entry.together, entry.guest_node) for entry in again.pci] == [
        (entry.together, entry.guest_node) for entry in entries
    ]
    assert same(made(again), parse(render(domain)))
    short = shorten(again)
    assert short.raw_xml is None
    assert places(made(short))[:2] == places(domain)[:2]


def test_a_document_that_is_otherwise_stays_as_it_is() -> None:
    """No port of its own, no number for function 0, a switch between: what no wish says is kept as raw_xml."""
    for slot in ("function='0x0'/>", "function='0x0' multifunction='off'/>"):
        domain = document(*both())
        for number, each in enumerate(domain.iterfind("devices/hostdev")):
            end = slot if number == 0 else "function='0x1'/>"
            each.append(parse(f"<address type='pci' domain='0x0000' bus='0x05' slot='0x00' {end}"))
        again = export(parse(render(domain)))
        assert [entry.together for entry in again.pci] == [None, None]
        assert same(made(again), domain)


def test_what_goes_along_shares_the_wish() -> None:
    wanted = vm(Pci(class_="gpu", together=True, guest_node="auto"))
    found = choose(wanted, KNOWN, Taste())
    assert found.vm.pci == tuple(
        Pci(address=address, together=True, guest_node="auto") for address in (GPU, SOUND, "0000:42:00.0")
    )
    chosen, sentences = settled(found.vm, found.homes)
    assert ({entry.guest_node for entry in chosen.pci}, sentences) == ({1}, ())


def test_who_names_an_address_has_the_rest_of_its_slot_come_along_by_together_alone() -> None:
    assert choose(vm(Pci(address=GPU)), KNOWN, Taste()).addresses == (GPU,)
    assert choose(vm(Pci(address=GPU, guest_node=1)), KNOWN, Taste()).addresses == (GPU,)
    assert choose(vm(Pci(address=GPU, together=True)), KNOWN, Taste()).addresses == (GPU, SOUND)


def test_auto_is_the_cell_with_the_memory_of_the_node() -> None:
    auto = Pci(address=GPU, guest_node="auto")

    def node(cells: Numa | None, home: int | None = 1) -> object:
        return settled(vm(auto, cells=cells), {} if home is None else {GPU: home})[0].pci[0].guest_node

    assert node(CELLS) == 1
    assert node(CELLS, 0) == 0
    assert node(Numa(nodes=frozenset({1}), cells=(Cell(memory=GIB), Cell(memory=GIB)))) == 0
    wide = Cell(memory=GIB, nodes=frozenset({0, 1}))
    assert node(Numa(cells=(wide, Cell(memory=GIB, nodes=frozenset({1}))))) == 1
    assert (node(CELLS, 7), node(CELLS, None), node(None)) == (None, None, None)
    assert "its node is not known" in settled(vm(auto), {})[1][0]
    assert "no node of the guest has its memory on node 7" in settled(vm(auto), {GPU: 7})[1][0]


def test_offline_what_a_host_decides_is_left_out_and_said() -> None:
    resolved = resolve(vm(Pci(address=GPU, guest_node="auto"), Pci(address=DISK, guest_node=1)), HostFacts())
    assert [entry.guest_node for entry in resolved.vm.pci] == [None, 1]
    assert any(note.endswith("guest_node") for note in resolved.notes)
    later = vm(Pci(address=GPU, guest_node=1), cells=None)
    later = Vm(name="web1", cpu=Cpu(count=2, pin="auto", topology="auto"), memory=later.memory, pci=later.pci)
    assert resolve(later, HostFacts()).vm.pci[0].guest_node is None


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Pci], str]:
    """Functions of a few slots with wishes that do not contradict each other, beside controllers of raw_xml."""
    nodes = draw(st.lists(st.sampled_from((None, 0, 1)), min_size=3, max_size=3))
    names = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7)), unique=True, min_size=1, max_size=10))
    entries = [
        Pci(
            address=f"0000:4{slot}:00.{function}",
            together=draw(st.sampled_from((None, True, False))),
            guest_node=nodes[slot],
        )
        for slot, function in names
    ]
    indexes = draw(st.lists(st.integers(1, 9), unique=True, max_size=5))
    models = [draw(st.sampled_from((buses.PORT, buses.EXPANDER))) for _ in indexes]
    raw = [
        f"<controller type='pci' index='{index}' model='{model}'>"
        + (f"<target busNr='{draw(st.integers(20 * index, 20 * index + 19))}'/>" if model == buses.EXPANDER else "")
        + "</controller>"
        for index, model in zip(indexes, models, strict=True)
    ]
    raw += [
        f"<sound model='ich9'><address type='pci' bus='{draw(st.integers(1, 12))}' slot='0'/></sound>"
        for _ in range(draw(st.integers(0, 1)))
    ]
    return entries, "".join(raw)


@settings(max_examples=100, deadline=None)
@given(crowds())
def test_no_two_are_in_one_place(crowd: tuple[list[Pci], str]) -> None:
    entries, raw = crowd
    domain = document(*entries, raw=raw)
    numbers = [node.get("index") for node in domain.iterfind("devices/controller[@type='pci']")]
    assert len(set(numbers)) == len(numbers)
    there = [place for each in domain.iterfind("devices/*") if (place := buses.place_of(each))]
    assert len({(place.bus, place.slot, place.function) for place in there}) == len(there)
    spans: list[int] = []
    for index, root in buses.controllers(domain).items():
        if root.get("model") == buses.EXPANDER:
            below = sum(index in buses.way_up(domain, other) for other in buses.controllers(domain)) - 1
            spans += range(first := int(root.find("target").get("busNr", "")), first + below + 1)  # type: ignore[union-attr]
    assert len(set(spans)) == len(spans) and max(spans, default=0) < buses.NUMBERS
    for entry, each in zip(entries, domain.iterfind("devices/hostdev"), strict=True):
        place = buses.place_of(each)
        assert entry.guest_node is None or (place and buses.node_of(domain, place.bus) == entry.guest_node)
    again = export(parse(render(domain)))
    assert same(made(again), parse(render(domain)))
    assert [entry.guest_node for entry in again.pci] == [entry.guest_node for entry in entries]
