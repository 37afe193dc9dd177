"""USB devices as this machine's kernel and as libvirt show them, and what the host needs of them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from kvmctl.host.pci import uses
from kvmctl.host.pci.holders import Held, add
from kvmctl.host.usb import nodes, sysfs
from kvmctl.plan.pci.needs import usb_needs
from kvmctl.spec.model.usb import Usb
from tests.host.pci.tree import Tree

CONTROLLER = "0000:00:14.0"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.pci(CONTROLLER, "usb", driver="xhci_hcd")
    tree.usb("1-1", CONTROLLER, number=2, kind="09", driver="hub")
    return tree


def codes(tree: Tree, port: str, *, connection: str = "") -> list[tuple[str, str]]:
    hidden = [name for name, device in sysfs.devices(tree.root).items() if device.hides_interface]
    known = usb_needs(uses.system_of({}, tree.root, connection=connection, claims=False), hidden)
    return [(need.code, need.sentence) for need in known.get(port, ())]


def test_a_device_as_the_kernel_shows_it(tree: Tree) -> None:
    place = tree.usb("1-1.4", "1-1", kind="03", driver="usbhid")
    tree.file(place / "product", "Receiver\n")
    tree.file(place / "serial", "S1\n")
    found = sysfs.devices(tree.root, own=True)
    assert found.keys() == {"1-1", "1-1.4"}
    mouse = found["1-1.4"]
    assert (mouse.bus, mouse.number, mouse.ids, mouse.product_name, mouse.serial) == (
        1,
        7,
        "046d:c52b",
        "Receiver",
        "S1",
    )
    assert (mouse.drivers, mouse.is_input, mouse.is_hub, mouse.usable) == (("usbhid",), True, False, True)
    assert found["1-1"].is_hub
    (tree.root / "dev/bus/usb/001/007").unlink()
    assert sysfs.devices(tree.root, own=True)["1-1.4"].usable is False
    assert sysfs.devices(tree.root)["1-1.4"].usable is None


def test_a_stick_with_a_file_system(tree: Tree) -> None:
    tree.usb("1-1.2", "1-1", kind="08", driver="usb-storage")
    tree.usb("1-1.4", "1-1")
    tree.block("sdb", "1-1.2", path="1-1.2:1.0/host6/target6:0:0/6:0:0:0/block")
    tree.mount(tree.block("sdb1", below=("sdb",), kind="partition"), "/media", "/dev/sdb1")
    assert sysfs.devices(tree.root)["1-1.2"].blocks == ("sdb",)
    assert codes(tree, "1-1.2") == [("mounted", "/media is on sdb1, on sdb")]
    assert codes(tree, "1-1.4") == codes(tree, "1-1") == []


def test_a_card_with_the_default_route_and_this_connection(tree: Tree) -> None:
    tree.usb("1-1.3", "1-1", kind="ff", driver="r8152")
    assert codes(tree, "1-1.3")[0][0] == "hidden"
    tree.card("eth9", "1-1.3", up=True)
    tree.address("eth9", "10.0.0.7")
    tree.route("eth9")
    assert sysfs.devices(tree.root)["1-1.3"].interfaces == ("eth9",)
    found = codes(tree, "1-1.3", connection="10.0.0.7")
    assert [code for code, _ in found] == ["connection", "route", "address"]


def test_what_a_process_has_open(tree: Tree) -> None:
    tree.usb("1-1.4", "1-1", kind="0e", driver="uvcvideo")
    tree.char("video0", "1-1.4")
    tree.process(77, "camera", "/dev/video0")
    assert codes(tree, "1-1.4") == [("process", "camera (77) has it open")]


BASE = "/sys/devices/pci0000:00/0000:00:14.0/usb1"
DEVICE = (
    "<device><name>{name}</name>{path}<capability type='usb_device'><bus>1</bus><device>{number}</device>"
    "<product id='0x{product}'>Receiver</product><vendor id='0x{vendor}'>Acme</vendor></capability></device>"
)
PART = (
    "<device><name>{name}</name><path>{path}</path><driver><name>{driver}</name></driver>"
    "<capability type='usb'><number>0</number><class>{kind}</class></capability></device>"
)
DISK = (
    f"<device><name>block_sdb</name><path>{BASE}/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb</path>"
    "<capability type='storage'><block>/dev/sdb</block></capability></device>"
)
CARD = (
    "<device><name>net_i2c</name><path>/sys/devices/pci0000:00/i2c-1/1-0050/net/x0</path>"
    "<capability type='net'><interface>x0</interface></capability></device>"
)


def device(name: str, path: str, number: int, ids: str) -> str:
    vendor, product = ids.split(":")
    place = f"<path>{BASE}{path}</path>" if path else ""
    return DEVICE.format(name=name, path=place, number=number, vendor=vendor, product=product)


def part(name: str, path: str, driver: str, kind: int) -> str:
    return PART.format(name=name, path=f"{BASE}{path}", driver=driver, kind=kind)


TEXTS = (
    device("usb_usb1", "/", 1, "1d6b:0002"),
    device("usb_1_1_4", "/1-1/1-1.4", 7, "046d:c52b"),
    part("usb_1_1_4_1_0", "/1-1/1-1.4/1-1.4:1.0", "usbhid", 3),
    device("usb_1_2", "", 8, "0781:5567"),
    DISK,
    device("usb_1_3", "/1-3", 9, "0bda:8153"),
    part("usb_1_3_1_0", "/1-3/1-3:1.0", "r8152", 255),
    CARD,
)


def test_what_libvirt_tells_from_elsewhere() -> None:
    elements = {element.findtext("name") or "": element for element in map(ElementTree.fromstring, TEXTS)}
    found = nodes.devices_of(elements)
    assert found.keys() == {"usb1", "1-1.4", "1-2", "1-3"}
    assert found["usb1"].is_hub
    mouse = found["1-1.4"]
    assert (mouse.place, mouse.ids, mouse.vendor_name, mouse.product_name) == ("1:7", "046d:c52b", "Acme", "Receiver")
    assert mouse.is_input
    assert found["1-2"].blocks == ("sdb",)
    said = {port: need[0].sentence for port, need in nodes.unseen(found).items()}
    assert said == {
        "1-2": "it carries sdb, and what for is only to be seen on the host itself",
        "1-3": "it carries a network interface, and what for is only to be seen on the host itself",
    }


def test_what_vms_say_that_they_have() -> None:
    found = Held()
    xml = """<domain><name>web1</name><uuid>1</uuid><devices>
      <hostdev mode='subsystem' type='usb'><source><vendor id='0x046d'/><product id='0xc52b'/>
        <address bus='1' device='7'/></source></hostdev>
      <hostdev mode='subsystem' type='usb'><source startupPolicy='optional' missing='yes'>
        <vendor id='0x0781'/><product id='0x5567'/></source></hostdev>
    </devices></domain>"""
    add(found, ElementTree.fromstring(xml), running=True)
    [(entry, holder)] = found.usb
    assert (entry, holder.vm, holder.running) == (Usb(vendor="046d", product="c52b", bus=1, device=7), "web1", True)
