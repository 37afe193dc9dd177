"""The two laws of the mapping, over generated specs and over documents made from them.

read(write(spec)) == spec, and write(read(document), document) changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from keyword import iskeyword
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmctl.plan.facts import HostFacts, Pool
from kvmctl.plan.resolve import resolve
from kvmctl.spec.declare import declarations, is_bare, read, write
from kvmctl.spec.lenses import Nowhere
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import read_nodes, to_yaml
from kvmctl.spec.plainly import to_plain
from kvmctl.spec.structure import build
from kvmctl.spec.xmlio import domain_of, vm_of
from kvmctl.spec.xmltext import canonical, parse, render
from tests.spec.strategies import VMS

SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def on_host(vm: Vm) -> Vm:
    """The VM as it is defined, on a host that has whatever it asks for."""
    pools = {disk.pool or "default": Pool(name=disk.pool or "default", type="dir", path="/pool") for disk in vm.disks}
    return resolve(replace(vm, accelerator="tcg"), HostFacts(arch=vm.arch or "x86_64", pools=pools)).vm


def mapped(value: Any) -> Any:
    """Without what the domain XML has no place for."""
    changes: dict[str, Any] = {}
    for name, declared in declarations(type(value)).items():
        inner = getattr(value, name)
        if isinstance(declared.lens, Nowhere):
            changes[name + "_" * iskeyword(name)] = None
        elif declared.cls is not None and declared.many:
            changes[name] = tuple(map(mapped, inner))
        elif declared.cls is not None and inner is not None and not is_bare(declared, inner):
            changes[name] = mapped(inner)
    return replace(value, **changes)


@SETTINGS
@given(VMS)
def test_a_spec_survives_yaml(vm: Vm) -> None:
    plain = to_plain(vm)
    assert to_plain(build(read_nodes(to_yaml(plain).encode(), "x.yaml"))) == plain


@SETTINGS
@given(VMS)
def test_what_is_written_to_xml_is_read_back(vm: Vm) -> None:
    settled = on_host(vm)
    text = render(domain_of(settled))
    assert vm_of(parse(text)) == mapped(settled)


@SETTINGS
@given(VMS)
def test_what_is_read_from_xml_and_written_back_changes_nothing(vm: Vm) -> None:
    document = domain_of(on_host(vm))
    before = canonical(document)
    write(vm_of(document), document)
    assert canonical(document) == before


@SETTINGS
@given(VMS, VMS)
def test_a_domain_can_be_edited_into_any_other(vm: Vm, other: Vm) -> None:
    document = domain_of(on_host(vm))
    wanted = mapped(on_host(other))
    write(wanted, document)
    assert read(Vm, document) == wanted


TAGS = (
    "vcpu",
    "cpu",
    "memory",
    "currentMemory",
    "os",
    "boot",
    "disk",
    "interface",
    "source",
    "target",
    "model",
    "rng",
    "cputune",
    "vcpupin",
    "vcpusched",
    "numatune",
    "memnode",
    "numa",
    "cell",
    "iothreads",
    "odd",
)


@st.composite
def odd_documents(draw: st.DrawFn) -> Element:
    """A domain with elements and attributes strewn over it at random, known ones in wrong places among them."""
    document = domain_of(on_host(draw(VMS)))
    for _ in range(draw(st.integers(1, 12))):
        places = list(document.iter())
        place = places[draw(st.integers(0, len(places) - 1))]
        words = st.text("abc019%&<-", max_size=4)
        if draw(st.booleans()):
            place.set(
                draw(st.sampled_from(("type", "mode", "unit", "current", "cpuset", "vcpus", "id", "x"))), draw(words)
            )
        else:
            SubElement(place, draw(st.sampled_from(TAGS))).text = draw(words)
    return document


@SETTINGS
@given(odd_documents())
def test_nothing_foreign_is_ever_touched(document: Element) -> None:
    before = canonical(document)
    write(read(Vm, document), document)
    assert canonical(document) == before
