"""What is read of a domain's XML, and what is told of two that differ."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.host.differences import differences
from kvmctl.host.reading import configuration, identity, size
from kvmctl.spec.metadata import NAMESPACE

GIB = 1024**3

DOMAIN = f"""
<domain type='kvm'>
  <name>web1</name>
  <title>A web server</title>
  <description>Serves</description>
  <metadata><k:vm xmlns:k='{NAMESPACE}'><k:creating host='h'/></k:vm></metadata>
  <memory unit='GiB'>8</memory>
  <currentMemory unit='KiB'>4194304</currentMemory>
  <memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>
  <vcpu current='2' cpuset='0-7'>4</vcpu>
  <cputune>
    <vcpupin vcpu='0' cpuset='2'/><vcpupin vcpu='1' cpuset='3'/>
    <emulatorpin cpuset='0-1'/><iothreadpin iothread='1' cpuset='4'/>
  </cputune>
  <numatune><memory mode='strict' nodeset='0'/></numatune>
  <os firmware='efi'>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <firmware><feature enabled='yes' name='secure-boot'/></firmware>
    <boot dev='hd'/><boot dev='network'/>
  </os>
  <cpu mode='host-passthrough'><topology sockets='1' cores='2' threads='2'/></cpu>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' discard='unmap'/>
      <source file='/images/web1.qcow2'/>
      <backingStore type='file'><source file='/images/base.qcow2'/><backingStore/></backingStore>
      <target dev='vda' bus='virtio'/><serial>s1</serial>
    </disk>
    <disk type='volume' device='cdrom'>
      <source pool='iso' volume='debian.iso'/><target dev='sda' bus='sata'/><readonly/>
    </disk>
    <disk type='network'><source protocol='rbd' name='pool/x'/><target dev='vdb'/><shareable/></disk>
    <interface type='network'>
      <mac address='52:54:00:00:00:01'/><source network='default'/><target dev='vnet3'/><model type='virtio'/>
    </interface>
    <interface type='hostdev'>
      <mac address='52:54:00:00:00:02'/>
      <source><address type='pci' domain='0x0000' bus='0x3b' slot='0x02' function='0x1'/></source>
      <link state='down'/>
    </interface>
    <serial type='pty'><source path='/dev/pts/4'/><target type='isa-serial' port='0'/><log file='/log/web1'/></serial>
    <console type='pty' tty='/dev/pts/4'><target type='serial' port='0'/></console>
    <console type='unix'><target type='virtio' port='1'/></console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <driver name='vfio'/><source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x0'/></source>
    </hostdev>
    <hostdev mode='subsystem' type='usb'>
      <source><vendor id='0x046d'/><product id='0xc52b'/></source>
    </hostdev>
    <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      <source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source>
    </hostdev>
    <hostdev mode='subsystem' type='scsi' managed='no'>
      <source><adapter name='scsi_host2'/><address bus='0' target='1' unit='4'/></source>
    </hostdev>
    <graphics type='vnc' port='5900' listen='127.0.0.1'/>
    <graphics type='spice' port='-1'><listen type='socket' socket='/run/spice'/></graphics>
    <tpm model='tpm-crb'/>
  </devices>
</domain>
"""


def xml(text: str) -> Element:
    return ElementTree.fromstring(text)


def test_a_domain_is_read_in_full() -> None:
    read = configuration(xml(DOMAIN))
    assert (read["vcpus"], read["vcpus_max"]) == (2, 4)
    assert (read["memory"], read["memory_max"], read["hugepages"]) == (4 * GIB, 8 * GIB, [GIB])
    assert read["cpu"] == {"model": "host-passthrough", "topology": {"sockets": 1, "cores": 2, "threads": 2}}
    assert (read["accelerator"], read["arch"], read["machine"]) == ("kvm", "x86_64", "pc-q35-7.2")
    assert (read["firmware"], read["secure_boot"], read["boot"]) == ("uefi", True, ["disk", "network"])
    assert read["pins"] == {
        "vcpus": {"0": "2", "1": "3"},
        "emulator": "0-1",
        "iothreads": {"1": "4"},
        "all": "0-7",
        "memory_nodes": "0",
        "memory_mode": "strict",
    }
    vda, sda, vdb = read["disks"]
    assert (vda["name"], vda["source"], vda["format"], vda["bus"]) == ("vda", "/images/web1.qcow2", "qcow2", "virtio")
    assert (vda["cache"], vda["discard"], vda["serial"]) == ("none", "unmap", "s1")
    assert (vda["backing"], vda["readonly"], vda["shareable"]) == (["/images/base.qcow2"], False, False)
    assert (sda["device"], sda["source"], sda["readonly"]) == ("cdrom", "iso/debian.iso", True)
    assert (vdb["device"], vdb["source"], vdb["shareable"]) == ("disk", "rbd:pool/x", True)
    card, passed = read["networks"]
    assert (card["source"], card["mac"], card["name"], card["link"]) == ("default", "52:54:00:00:00:01", "vnet3", "up")
    assert (passed["source"], passed["link"]) == ("0000:3b:02.1", "down")
    assert [(device["type"], device["address"], device["managed"]) for device in read["devices"]] == [
        ("pci", "0000:3b:00.0", True),
        ("usb", "046d:c52b", False),
        ("mdev", "c2177883-f1bb-47f0-914d-32a22e3a8804", False),
        ("scsi", "2:0:1:4", False),
    ]
    assert read["graphics"] == [
        {"type": "vnc", "listen": "127.0.0.1", "port": 5900, "socket": None},
        {"type": "spice", "listen": None, "port": None, "socket": "/run/spice"},
    ]
    assert read["serial"] == [
        {"type": "pty", "path": "/dev/pts/4", "log": "/log/web1", "target": "isa-serial"},
        {"type": "unix", "path": None, "log": None, "target": "virtio"},
    ]
    assert (read["tpm"], read["agent"]) == ("tpm-crb", True)


def test_who_a_vm_is() -> None:
    assert identity(xml(DOMAIN)) == {"title": "A web server", "description": "Serves", "half_created": True}
    assert identity(xml("<domain/>")) == {"title": None, "description": None, "half_created": False}


def test_a_domain_that_says_nothing_can_be_read() -> None:
    read = configuration(xml("<domain><devices><disk/><interface/><hostdev/><graphics/><serial/></devices></domain>"))
    assert (read["vcpus"], read["memory"], read["firmware"], read["boot"]) == (1, None, "bios", [])
    assert read["disks"][0]["name"] is None


@pytest.mark.parametrize(
    ("os", "firmware", "secure_boot"),
    [
        ("<os><loader type='pflash' secure='yes'>/OVMF.fd</loader></os>", "uefi", True),
        ("<os><loader type='rom'>/bios.bin</loader></os>", "bios", False),
        ("<os firmware='bios'/>", "bios", False),
        ("<os firmware='efi'><firmware><feature enabled='no' name='secure-boot'/></firmware></os>", "uefi", False),
    ],
)
def test_firmware_is_named_or_told_by_its_file(os: str, firmware: str, secure_boot: bool) -> None:
    read = configuration(xml(f"<domain>{os}</domain>"))
    assert (read["firmware"], read["secure_boot"]) == (firmware, secure_boot)


def test_single_devices_are_booted_in_their_order() -> None:
    devices = (
        "<interface><mac address='52:54:00:00:00:01'/><boot order='1'/></interface>"
        "<disk><target dev='vda'/><boot order='2'/></disk>"
    )
    assert configuration(xml(f"<domain><devices>{devices}</devices></domain>"))["boot"] == ["52:54:00:00:00:01", "vda"]


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("<m>1</m>", 1024), ("<m unit='b'>7</m>", 7), ("<m unit='MB'>1</m>", 10**6), ("<m unit='GiB'>2</m>", 2 * GIB)],
)
def test_sizes_have_units(text: str, bytes_: int) -> None:
    assert size(xml(text)) == bytes_


# -- differences ------------------------------------------------------------------------------------

LIVE = """
<domain type='qemu' id='7'>
  <memory unit='KiB'>262144</memory>
  <vcpu placement='static' current='2'>4</vcpu>
  <resource><partition>/machine</partition></resource>
  <cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>qemu64</model><feature policy='require' name='x2apic'/>
  </cpu>
  <devices>
    <disk type='file' device='disk'>
      <source file='/a.qcow2' index='2'/><backingStore/><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/>
    </disk>
    <disk type='file' device='cdrom'><driver name='qemu'/><target dev='sda' bus='sata'/></disk>
    <interface type='network'>
      <mac address='52:54:00:00:00:01'/>
      <source network='default' portid='1' bridge='virbr0'/><target dev='vnet0'/><alias name='net0'/>
    </interface>
    <serial type='pty'><source path='/dev/pts/3'/><target port='0'/><alias name='serial0'/></serial>
    <console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/><target type='serial' port='0'/></console>
    <channel type='unix'>
      <source mode='bind' path='/run/agent.sock'/><target type='virtio' name='agent' state='connected'/>
    </channel>
    <graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1'>
      <listen type='address' address='127.0.0.1'/>
    </graphics>
  </devices>
  <seclabel type='dynamic'><label>+0:+0</label></seclabel>
</domain>
"""

LATER = """
<domain type='qemu'>
  <memory unit='KiB'>262144</memory>
  <vcpu placement='static' current='2'>4</vcpu>
  <cpu mode='host-model' check='partial'/>
  <devices>
    <disk type='file' device='disk'><source file='/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <channel type='unix'><target type='virtio' name='agent'/></channel>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'>
      <listen type='address' address='127.0.0.1'/>
    </graphics>
  </devices>
</domain>
"""


def changed(before: str, after: str) -> list[dict[str, str | None]]:
    assert before in LATER, "the test changes nothing"
    return differences(xml(LIVE), xml(LATER.replace(before, after)))


def test_what_libvirt_fills_in_while_a_vm_runs_is_no_difference() -> None:
    assert differences(xml(LIVE), xml(LATER)) == []


@pytest.mark.parametrize(
    ("before", "after", "path", "live", "next_boot"),
    [
        (">262144<", ">524288<", "memory", "262144 KiB", "524288 KiB"),
        ("current='2'", "current='3'", "vcpu/@current", "2", "3"),
        ("'/a.qcow2'", "'/b.qcow2'", "devices/disk[vda]/source/@file", "/a.qcow2", "/b.qcow2"),
        (
            "network='default'",
            "network='lan'",
            "devices/interface[52:54:00:00:00:01]/source/@network",
            "default",
            "lan",
        ),
        ("port='-1' autoport='yes'", "port='5901'", "devices/graphics[vnc]/@port", "5900", "5901"),
        ("<vcpu", "<title>t</title><vcpu", "title", None, "t"),
        (
            "<serial",
            "<disk type='block'><source dev='/dev/sdb'/><target dev='vdb'/></disk><serial",
            "devices/disk[vdb]",
            None,
            "dev=/dev/sdb",
        ),
        (
            "<serial",
            "<hostdev type='pci'><source><address bus='0x3b' slot='0'/></source></hostdev><serial",
            "devices/hostdev[0000:3b:00.0]",
            None,
            "address.bus=0x3b address.slot=0",
        ),
        ("<vcpu", "<iothreads>2</iothreads><vcpu", "iothreads", None, "2"),
        (
            "<target dev='vda' bus='virtio'/>",
            "<target dev='vda' bus='virtio'/><iotune><total_iops_sec>500</total_iops_sec></iotune>",
            "devices/disk[vda]/iotune",
            None,
            "total_iops_sec=500",
        ),
    ],
)
def test_a_difference_is_told_with_its_place_and_both_values(
    before: str, after: str, path: str, live: str | None, next_boot: str | None
) -> None:
    assert {"path": path, "live": live, "next_boot": next_boot} in changed(before, after)


def test_what_will_be_gone_is_told() -> None:
    disk = "<disk type='file' device='disk'><source file='/a.qcow2'/><target dev='vda' bus='virtio'/></disk>"
    assert changed(disk, "") == [{"path": "devices/disk[vda]", "live": "file=/a.qcow2", "next_boot": None}]


ELEMENTS = st.recursive(
    st.sampled_from(["<a>1</a>", "<a/>", "<b>1</b>", "<disk/>"]),
    lambda inner: st.builds(
        lambda tag, name, inside: f"<{tag} name='{name}'>{''.join(inside)}</{tag}>",
        st.sampled_from(["a", "b", "devices", "feature"]),
        st.sampled_from(["x", "y"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


@given(ELEMENTS)
def test_nothing_differs_from_itself(document: str) -> None:
    assert differences(xml(document), xml(document)) == []


@given(ELEMENTS, ELEMENTS)
def test_the_other_way_round_the_same_places_differ(one: str, other: str) -> None:
    def between(first: str, second: str) -> list[tuple[str | None, ...]]:
        found = differences(xml(f"<domain>{first}</domain>"), xml(f"<domain>{second}</domain>"))
        return sorted((each["path"], each["live"], each["next_boot"]) for each in found)

    assert {path for path, _, _ in between(one, other)} == {path for path, _, _ in between(other, one)}
