"""kvmctl's own element: the placement is a part of the VM, the rest are notes."""

from __future__ import annotations

from kvmctl.plan.export import export
from kvmctl.spec import metadata
from kvmctl.spec.model.trust import functions_of, note, noted
from kvmctl.spec.xmlio import vm_of
from kvmctl.spec.xmltext import canonical, parse, render

SPACE = f"xmlns:kvmctl='{metadata.NAMESPACE}'"
PLACEMENT = "<kvmctl:placement policy='spread'/>"


def vm(inner: str) -> str:
    return f"<domain><metadata {SPACE}><kvmctl:vm>{inner}</kvmctl:vm></metadata></domain>"


def test_notes_join_the_placement_that_is_there() -> None:
    document = parse(vm(PLACEMENT + "<kvmctl:spec>of another</kvmctl:spec>"))
    kept = metadata.element("name: x\n")
    metadata.attach(document, kept)
    assert canonical(document) == canonical(parse(vm(f"<kvmctl:spec>name: x\n</kvmctl:spec>{PLACEMENT}")))
    # What is written with setMetadata later has the placement too.
    assert '<placement policy="spread" />' in metadata.bare(kept)
    metadata.mark(kept, [("/a", None)], pid="1")
    metadata.unmark(kept)
    assert document.find(f"metadata/{metadata.VM}/{metadata.PLACEMENT}") is not None


def test_notes_stand_alone_in_a_vm_without_wishes() -> None:
    document = parse("<domain><metadata><other/></metadata></domain>")
    metadata.attach(document, metadata.element("name: x\n"))
    assert [child.tag for child in document[0]] == ["other", metadata.VM]


def test_notes_are_forgotten_and_the_placement_is_not() -> None:
    document = parse(vm(f"<kvmctl:spec>x</kvmctl:spec><kvmctl:creating/>{PLACEMENT}"))
    metadata.forget(document)
    assert canonical(document) == canonical(parse(vm(PLACEMENT)))
    document = parse(vm("<kvmctl:spec>x</kvmctl:spec>"))
    metadata.forget(document)
    assert render(document) == "<domain />\n"


def test_devices_are_noted_once_and_forgotten() -> None:
    kept = metadata.element("name: x\n")
    metadata.note_devices(kept, [{"address": "0000:3b:00.0", "product": "8086:10c9"}, {"address": "0000:3c:00.0"}])
    metadata.note_devices(kept, [{"address": "0000:3b:00.0", "product": "8086:1521", "serial": "SN-1"}])
    document = parse(vm("<kvmctl:device address='0000:99:00.0'/>"))
    metadata.attach(document, kept)
    assert metadata.noted_devices(parse(render(document))) == [
        {"address": "0000:3c:00.0"},
        {"address": "0000:3b:00.0", "product": "8086:1521", "serial": "SN-1"},
    ]
    metadata.forget(document)
    assert metadata.noted_devices(document) == []


def test_it_is_written_with_our_prefix_whatever_was_read_before() -> None:
    parse(vm(PLACEMENT).replace("kvmctl:", "k:").replace(":kvmctl", ":k"))
    parse("<domain xmlns:kvmctl='urn:of-another'><kvmctl:vm/></domain>")
    domain = parse("<domain/>")
    metadata.attach(domain, metadata.element("name: x\n"))
    assert f'<domain xmlns:kvmctl="{metadata.NAMESPACE}">' in render(domain)


FIRST, SECOND, OTHER = "0000:3b:10.0", "0000:3b:10.2", "0000:99:00.0"


def card(address: str, mac: str) -> str:
    bus, slot, function = address[5:7], address[8:10], address[11]
    place = f"<address type='pci' domain='0x0000' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"
    return f"<interface type='hostdev' managed='yes'><mac address='{mac}'/><source>{place}</source></interface>"


CARDS = f"<devices>{card(FIRST, '52:54:00:00:00:01')}{card(SECOND, '52:54:00:00:00:02')}</devices>"


def test_what_a_function_is_trusted_with_is_a_part_of_the_vm() -> None:
    kept = f"<kvmctl:function address='{SECOND}' trust='yes' spoof_check='perhaps'/>"
    document = parse(vm(kept).replace("</domain>", f"{CARDS}</domain>"))
    assert functions_of(document) == {FIRST: {}, SECOND: {"trust": True}}
    metadata.attach(document, metadata.element("name: x\n"))
    metadata.forget(document)
    assert [(card.trust, card.spoof_check) for card in vm_of(document).networks] == [(None, None), (True, None)]
    note(document, {FIRST: {"trust": False, "spoof_check": False}, SECOND: {}})
    assert noted(document) == {FIRST: {"trust": False, "spoof_check": False}}
    note(document, {FIRST: {}})
    assert document.find("metadata") is None


def test_of_a_function_that_the_vm_has_not_nothing_is_exported() -> None:
    functions = "".join(f"<kvmctl:function address='{each}' trust='yes'/>" for each in (OTHER, SECOND, FIRST))
    rest = "<name>x</name><memory>65536</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><vcpu>1</vcpu>"
    text = vm(functions).replace("<domain>", "<domain type='kvm'>").replace("</domain>", f"{rest}{CARDS}</domain>")
    document = parse(text)
    spec = export(document)
    assert [card.trust for card in spec.networks] == [True, True]
    assert "function" not in (spec.raw_xml or "")
