"""PCI devices: what is made of libvirt's descriptions, and where a device is that somebody names."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from kvmctl.errors import NotFound, Refused
from kvmctl.host.devices import device_node, devices, devices_of, kind
from tests.host.test_topology import host, refusal

BRIDGE = """
<device><name>pci_0000_80_00_0</name><parent>computer</parent>
  <capability type='pci'><class>0x060400</class>
    <domain>0</domain><bus>128</bus><slot>0</slot><function>0</function><numa node='1'/>
  </capability></device>
"""
CARD = """
<device><name>pci_0000_81_00_0</name><parent>pci_0000_80_00_0</parent>
  <capability type='pci'><class>0x020000</class>
    <domain>0</domain><bus>129</bus><slot>0</slot><function>0</function>
    <product id='0x10c9'>82576 Gigabit Network Connection</product><vendor id='0x8086'>Intel Corporation</vendor>
    <capability type='virt_functions' maxCount='7'><address bus='0x81' slot='0x10' function='0'/></capability>
    <numa node='1'/>
  </capability></device>
"""
VIRTUAL = """
<device><name>pci_0000_81_10_0</name><parent>pci_0000_80_00_0</parent>
  <capability type='pci'><class>0x020000</class>
    <domain>0</domain><bus>129</bus><slot>16</slot><function>0</function>
    <product id='0x10ca'>82576 Virtual Function</product>
    <capability type='phys_function'><address domain='0' bus='0x81' slot='0' function='0'/></capability>
    <numa node='1'/>
  </capability></device>
"""
DISK = """
<device><name>pci_10000_01_00_0</name><parent>computer</parent>
  <capability type='pci'><class>0x010802</class>
    <domain>65536</domain><bus>1</bus><slot>0</slot><function>0</function>
  </capability></device>
"""
NET = """
<device><name>net_eth0_4_52_54_00_12_34_57</name><parent>{parent}</parent>
  <capability type='net'><interface>eth0.4</interface><address>52:54:00:12:34:57</address></capability></device>
"""
USB_NET = """
<device><name>net_usb0_52_54_00_12_34_58</name><parent>usb_1_1</parent>
  <capability type='net'><interface>usb0</interface></capability></device>
"""
USB = "<device><name>usb_1_1</name><parent>pci_0000_81_00_0</parent><capability type='usb'/></device>"
LO = """
<device><name>net_lo_00_00_00_00_00_00</name><parent>computer</parent>
  <capability type='net'><interface>lo</interface></capability></device>
"""
ALL = (BRIDGE, CARD, VIRTUAL, DISK, NET.format(parent="pci_0000_81_00_0"), USB_NET, USB, LO)


class Node:
    """A node device."""

    def __init__(self, text: str) -> None:
        self.text = text

    def name(self) -> str:
        return ElementTree.fromstring(self.text).findtext("name") or ""

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - libvirt\'s name
        if "gone" in self.text:
            raise refusal(libvirt.VIR_ERR_NO_NODE_DEVICE)
        return self.text


class Connection:
    """A host with these node devices."""

    def __init__(self, *texts: str, problem: Exception | None = None) -> None:
        self.nodes = [Node(text) for text in texts]
        self.problem = problem

    def listAllDevices(self, flags: int) -> list[Node]:  # noqa: N802 - libvirt\'s name
        if self.problem:
            raise self.problem
        wanted = [
            name
            for name, flag in (
                ("pci", libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV),
                ("net", libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET),
            )
            if flags & flag
        ]
        return [node for node in self.nodes if node.name().startswith(tuple(wanted))]

    def nodeDeviceLookupByName(self, name: str) -> Node:  # noqa: N802 - libvirt\'s name
        if self.problem:
            raise self.problem
        for node in self.nodes:
            if node.name() == name:
                return node
        raise refusal(libvirt.VIR_ERR_NO_NODE_DEVICE)


def described(*texts: str) -> dict[str, Any]:
    found = (ElementTree.fromstring(text) for text in texts)
    return {element.findtext("name") or "": element for element in found}


def test_devices_with_their_nodes_and_interfaces() -> None:
    card, virtual, disk = devices_of(described(*ALL))
    assert (card.address, card.node, card.what, card.interfaces) == ("0000:81:00.0", 1, "network", ("eth0.4",))
    assert card.product == "82576 Gigabit Network Connection"
    assert (card.virtual, virtual.virtual) == (False, True)
    assert (virtual.address, virtual.interfaces) == ("0000:81:10.0", ())
    assert (disk.address, disk.node, disk.what, disk.product) == ("10000:01:00.0", None, "NVMe", "")


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (0x010601, "SATA"),
        (0x010000, "storage"),
        (0x030200, "GPU"),
        (0x0B4000, "accelerator"),
        (0x120000, "accelerator"),
        (0x020700, "InfiniBand"),
        (0x060000, ""),
        (0x000200, ""),
        (0x0C0330, ""),
        (0, ""),
    ],
)
def test_kinds(number: int, word: str) -> None:
    assert kind(number) == word


def test_a_device_that_goes_meanwhile_is_left_out() -> None:
    gone = DISK.replace("pci_10000_01_00_0", "pci_gone")
    assert [device.what for device in devices(host(Connection(CARD, gone)))] == ["network"]


def test_a_host_without_the_driver_has_none() -> None:
    assert devices(host(Connection(problem=refusal(libvirt.VIR_ERR_NO_SUPPORT)))) == ()
    with pytest.raises(libvirt.libvirtError):
        devices(host(Connection(problem=refusal(libvirt.VIR_ERR_INTERNAL_ERROR))))


@pytest.mark.parametrize("what", ["0000:81:00.0", "81:00.0", "0000:81:00.0".upper(), "eth0.4", "usb0"])
def test_where_a_device_is(what: str) -> None:
    assert device_node(host(Connection(*ALL)), what) == ("0000:81:00.0", 1)


def test_a_node_that_is_not_told() -> None:
    assert device_node(host(Connection(*ALL)), "10000:01:00.0") == ("10000:01:00.0", None)


@pytest.mark.parametrize(
    ("what", "said", "hint"),
    [
        ("81:00.1", "no PCI device 0000:81:00.1", "did you mean '0000:81:00.0'?"),
        ("ffff:ff:1f.7", "no PCI device ffff:ff:1f.7", "kvmctl host topology"),
        ("eth0.5", "no network interface 'eth0.5'", "did you mean 'eth0.4'?"),
        ("nothing-like-it", "no network interface", "kvmctl host topology"),
        ("lo", "lo belongs to no PCI device", "kvmctl host topology"),
    ],
)
def test_what_is_not_there(what: str, said: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        device_node(host(Connection(*ALL)), what)
    assert caught.value.code == "device-not-found"
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("what", ["81:00.0", "eth0.4"])
def test_a_host_that_cannot_tell(what: str) -> None:
    with pytest.raises(Refused) as caught:
        device_node(host(Connection(problem=refusal(libvirt.VIR_ERR_NO_SUPPORT))), what)
    assert caught.value.code == "not-supported"
    assert "numa.nodes" in caught.value.hint
