"""A domain exported to a spec makes the same domain again, whoever made it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from hypothesis import HealthCheck, given, settings

from kvmctl.plan.export import export, made, same
from kvmctl.plan.shorten import shorten
from kvmctl.spec import metadata
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.numa import Cell
from kvmctl.spec.model.tuning import Wishes
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import read_nodes, to_yaml
from kvmctl.spec.plainly import to_plain
from kvmctl.spec.structure import build
from kvmctl.spec.xmlio import domain_of
from kvmctl.spec.xmltext import parse
from tests.spec.strategies import VMS
from tests.spec.test_laws import odd_documents, on_host

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
FOREIGN = """
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' xmlns:other='http://other.example/1'>
  <name>foreign</name>
  <metadata><other:note level='1'>keep me</other:note></metadata>
  <memory>1048576</memory>
  <vcpu cpuset='0-1'>2</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
  <cpu mode='custom' match='minimum' check='partial'><model fallback='forbid'>Haswell</model></cpu>
  <devices>
    <disk type='network' device='disk'><driver name='qemu' type='raw'/>
      <source protocol='rbd' name='pool/image'><host name='mon' port='6789'/></source>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/x.img'/>
      <target dev='vdb' bus='virtio'/></disk>
    <disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>
    <interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:01'/><source/></interface>
    <interface type='user'><mac address='52:54:00:00:00:02'/><model type='virtio'/><backend type='passt'/></interface>
    <serial type='tcp'><source mode='connect' host='192.0.2.4' service='1'/><target port='0'/></serial>
    <serial type='pty'><target port='1'/></serial>
    <rng model='virtio'><backend model='egd' type='udp'><source mode='bind' service='1234'/></backend></rng>
    <rng model='virtio'><backend model='random'>/dev/random</backend></rng>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
    <hostdev mode='subsystem' type='pci'>
      <source><address domain='0' bus='0x3b' slot='0' function='0'/></source></hostdev>
  </devices>
  <qemu:commandline><qemu:arg value='-foo'/></qemu:commandline>
</domain>"""


def again(domain: Element) -> tuple[Vm, Element]:
    """The exported spec, and the domain made of its text."""
    vm = export(domain)
    return vm, made(build(read_nodes(to_yaml(to_plain(vm)).encode(), "again.yaml")))


def test_nothing_foreign_is_lost() -> None:
    domain = parse(FOREIGN)
    vm, copy = again(domain)
    assert same(copy, domain)
    assert [disk.name for disk in vm.disks] == ["vdb"]
    assert vm.cpu and vm.cpu.pin == frozenset({0, 1})
    assert vm.raw_xml and "keep me" in vm.raw_xml and "-foo" in vm.raw_xml and "0x3b" in vm.raw_xml


def test_what_is_known_is_said_in_the_language_and_not_as_xml() -> None:
    path = Path(__file__).parent.parent / "cases" / "web.xml"
    text = path.read_text().partition("<!--")[0]
    vm, _ = again(parse(text.replace("<source network", "<mac address='52:54:00:00:00:01'/><source network")))
    assert vm.raw_xml is None
    assert vm.memory and vm.memory.size == 4 * 2**30
    assert vm.disks[1].path == "/srv/data.raw"


@SETTINGS
@given(VMS)
def test_whatever_kvmctl_makes_it_can_export(vm: Vm) -> None:
    domain = domain_of(on_host(vm))
    spec, copy = again(domain)
    assert same(copy, domain)
    assert spec.raw_xml is None or vm.balloon is not None, spec.raw_xml


@SETTINGS
@given(odd_documents())
def test_whatever_else_there_is_comes_back_too(domain: Element) -> None:
    for element in [domain.find("name"), domain.find("memory")]:
        assert element is not None
        if element.attrib or len(element) or len(domain.findall(element.tag)) > 1:
            return  # libvirt makes no such document
    _, copy = again(domain)
    assert same(copy, domain)


def test_the_short_form_leaves_out_what_libvirt_adds_and_nothing_else() -> None:
    echo = """<domain type='qemu'><name>x</name><memory unit='KiB'>65536</memory><vcpu placement='static'>1</vcpu>
      <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><cpu mode='host-model' check='partial'>
        <topology sockets='1' dies='1' clusters='1' cores='1' threads='1'/></cpu>
      <on_poweroff>destroy</on_poweroff><on_crash>preserve</on_crash>
      <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
        <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/a.raw'/>
          <target dev='vda' bus='virtio'/><address type='pci' domain='0' bus='4' slot='0' function='0'/></disk>
        <disk type='file' device='disk'><driver name='qemu' type='raw' queues='4'/><source file='/b.raw'/>
          <target dev='vdb' bus='virtio'/></disk>
        <controller type='usb' index='0' model='qemu-xhci'/>
        <controller type='scsi' index='0'><driver queues='2'/></controller>
        <console type='pty'><target type='serial' port='0'/></console><audio id='1' type='none'/>
        <watchdog model='itco' action='reset'/><watchdog model='i6300esb' action='pause'/></devices></domain>"""
    raw = shorten(export(parse(echo))).raw_xml or ""
    for kept in ("preserve", "i6300esb", "queues='4'".replace("'", '"'), '"scsi"'):
        assert kept in raw
    for dropped in ("poweroff", "emulator", "pci", "usb", "console", "audio", "vda", "check", "itco", "clusters"):
        assert dropped not in raw, raw


def test_our_own_metadata_is_not_exported() -> None:
    domain = domain_of(on_host(Vm(name="x", memory=Memory(size=2**30))))
    metadata.attach(domain, metadata.element("name: x\n"))
    assert "kvmctl" not in (export(domain).raw_xml or "")


PLACED = """<domain type='kvm'><name>placed</name><memory unit='KiB'>65536</memory><vcpu placement='static'>2</vcpu>
  <metadata xmlns:k='https://kvmctl.dev/xmlns/vm/1'><k:vm><k:spec>cpu: {pin: auto}</k:spec>
    <k:placement policy='spread' near='eth0' pin='auto'/></k:vm></metadata>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><cpu mode='maximum' check='none'/>
  <cputune><vcpusched vcpus='0' scheduler='idle'/><vcpusched vcpus='1' scheduler='idle'/>
    <vcpupin vcpu='1' cpuset='3'/><vcpupin vcpu='0' cpuset='2'/><emulatorpin cpuset='0-1'/></cputune>
  <numatune><memory mode='strict' nodeset='1'/></numatune></domain>"""


def test_a_placed_vm_is_exported_with_its_pins_and_its_wishes() -> None:
    domain = parse(PLACED)
    vm, copy = again(domain)
    assert same(copy, domain)
    assert vm.cpu and vm.cpu.pin == {0: frozenset({2}), 1: frozenset({3})}
    assert vm.cpu.placement == Wishes(policy="spread", near=("eth0",), automatic=True)
    assert [entry.vcpus for entry in vm.cpu.scheduler] == [frozenset({0, 1})]
    assert vm.raw_xml and "sched" not in vm.raw_xml and "kvmctl" not in vm.raw_xml
    placement = copy.find(f"metadata/{metadata.VM}/{metadata.PLACEMENT}")
    assert placement is not None and placement.attrib == {"policy": "spread", "near": "eth0", "pin": "auto"}


def test_distances_of_cells_to_themselves_are_not_told() -> None:
    cells = "".join(
        f"<cell id='{one}' cpus='{one}' memory='32768' unit='KiB'><distances><sibling id='{one}' value='10'/>"
        f"<sibling id='{other}' value='21'/></distances></cell>"
        for one, other in ((0, 1), (1, 0))
    )
    domain = parse(PLACED.replace("<cpu mode='maximum' check='none'/>", f"<cpu><numa>{cells}</numa></cpu>"))
    vm, copy = again(domain)
    assert same(copy, domain)
    assert vm.numa and [cell.distances for cell in vm.numa.cells] == [{1: 21}, {0: 21}]
    assert "distances" not in (vm.raw_xml or "")


def test_what_the_language_does_not_know_of_a_placement_is_kept() -> None:
    domain = parse(PLACED.replace("policy='spread' near='eth0' pin='auto'", "pooled='yes'"))
    vm, copy = again(domain)
    assert same(copy, domain)
    assert vm.cpu and vm.cpu.placement is None
    assert vm.raw_xml and 'pooled="yes"' in vm.raw_xml


def test_the_short_form_of_a_placed_vm_asks_for_a_place() -> None:
    short = shorten(export(parse(PLACED)))
    assert short.cpu and short.cpu.pin == "auto" and short.cpu.emulator_pin is None
    short_wishes = Wishes(policy="spread", near=("eth0",))
    assert short.cpu.placement == short_wishes
    assert short.numa is None
    cells = """<cpu mode='maximum'><numa><cell id='0' cpus='0-1' memory='65536' unit='KiB'/></numa></cpu>
      <numatune><memnode cellid='0' mode='strict' nodeset='1'/></numatune>"""
    spread = PLACED.replace("<cpu mode='maximum' check='none'/>", cells.partition("<numatune>")[0])
    spread = spread.replace("<memory mode='strict' nodeset='1'/>", "<memnode cellid='0' mode='strict' nodeset='1'/>")
    short = shorten(export(parse(spread.replace("policy='spread' near='eth0' ", ""))))
    assert short.cpu and short.cpu.placement is None
    assert short.numa and short.numa.cells == (Cell(cpus=frozenset({0, 1}), memory=2**26),)
    kept = shorten(export(parse(PLACED.replace("pin='auto'", "pin='auto' by_hand='emulator nodes'"))))
    assert kept.cpu and (kept.cpu.pin, kept.cpu.emulator_pin) == ("auto", frozenset({0, 1}))
    assert kept.numa and kept.numa.nodes == frozenset({1}) and kept.cpu.placement == short_wishes
    by_hand = shorten(export(parse(PLACED.replace(" pin='auto'", "").replace("policy='spread' near='eth0'", ""))))
    assert by_hand.cpu and isinstance(by_hand.cpu.pin, dict) and by_hand.numa


def test_autostart_is_part_of_the_spec() -> None:
    domain = parse(FOREIGN)
    assert export(domain, autostart=True) == replace(export(parse(FOREIGN)), autostart=True)


@pytest.mark.parametrize("other", ["<a b='1'/>", "<a>x</a>", "<a><c/></a>", "<b/>"])
def test_same_sees_differences(other: str) -> None:
    assert same(parse("<a/>"), parse("<a> </a>"))
    assert not same(parse("<a/>"), parse(other))
