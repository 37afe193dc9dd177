"""libvirt's QEMU driver takes the places that devices are given in the guest, and adds nothing where they are.

The driver stays open until its process ends, so it has one of its own. No device is there, and nothing is started.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from kvmctl.plan.export import export, made, same
from kvmctl.plan.pci import buses
from kvmctl.plan.shorten import shorten
from kvmctl.spec.xmltext import parse, render
from tests.environment import ROOT

CASES = Path(__file__).parent.parent.parent / "cases"
DEFINE = """
import sys
from kvmctl.host.embedded import open_driver
from kvmctl.host.library import libvirt
from kvmctl.host.targets import Target
host = open_driver(Target("embedded", "qemu:///embed?root=" + sys.argv[1]))
domain = host.defineXMLFlags(sys.stdin.read(), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
print(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
"""
pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs QEMU"),
]


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory with a short path, since the driver makes sockets below it."""
    with tempfile.TemporaryDirectory(prefix="kvmctl-") as directory:
        yield Path(directory)


def echo(document: Element, root: Path) -> Element:
    """What the driver makes of a document, of an emulated machine."""
    document.set("type", "qemu")
    for cpu in document.findall("cpu"):
        cpu.set("mode", "maximum")
    done = subprocess.run(
        [sys.executable, "-c", DEFINE, str(root)],
        input=render(document),
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def places(domain: Element) -> list[buses.Place | None]:
    return [buses.place_of(device) for device in domain.iterfind("devices/hostdev")]


@pytest.mark.parametrize("name", ["guest-pci", "guest-slots"])
def test_a_document_keeps_its_places_and_is_exported_with_its_wishes(name: str, root: Path) -> None:
    document = parse((CASES / f"{name}.xml").read_text())
    defined = echo(document, root)
    wished = [place for place in places(document) if place]
    assert [place for place in places(defined) if place in wished] == wished
    for index, controller in buses.controllers(document).items():
        twin = buses.controllers(defined)[index]
        assert twin.get("model") == controller.get("model")
        assert buses.node_of(defined, index) == buses.node_of(document, index)
    everything = [place for device in defined.iterfind("devices/*") if (place := buses.place_of(device))]
    assert len({(place.bus, place.slot, place.function) for place in everything}) == len(everything)

    again = export(defined)
    assert same(made(again), defined)
    short = shorten(again)
    assert [(entry.together, entry.guest_node) for entry in short.pci] == [
        (entry.together, entry.guest_node) for entry in again.pci
    ]
    assert any(entry.together for entry in again.pci)
    assert "hostdev" not in (short.raw_xml or "") and "controller" not in (short.raw_xml or "")
    remade = echo(made(short), root)
    nodes = [place and buses.node_of(remade, place.bus) for place in places(remade)]
    assert nodes == [entry.guest_node for entry in short.pci]
