"""SCSI devices as this machine's kernel and as libvirt show them, and what the host needs of them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from kvmctl.host.pci import uses
from kvmctl.host.pci.holders import Held, add
from kvmctl.host.scsi import nodes, sysfs
from kvmctl.plan.pci.needs import scsi_needs
from tests.host.pci.tree import Tree

HBA, WWN = "0000:03:00.0", "0x5000c500a1b2c3d4"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    tree.pci(HBA, "raid", driver="mpt3sas")
    return tree


def codes(tree: Tree, address: str) -> list[tuple[str, str]]:
    known = scsi_needs(uses.system_of({}, tree.root, claims=False))
    return [(need.code, need.sentence) for need in known.get(address, ())]


def test_a_disk_as_the_kernel_shows_it(tree: Tree) -> None:
    tree.scsi("2:0:0:0", HBA, node="sg1", wwid="naa.5000c500a1b2c3d4\n", vpd_pg80=b"\0\x80\0\x08 SN-1   ")
    tree.block("sdb", "2:0:0:0")
    tree.file(tree.places["sdb"] / "size", "2048\n")
    for link in ("dev/disk/by-id/wwn-0x5000c500a1b2c3d4", "dev/disk/by-path/pci-1", "dev/disk/by-id/other"):
        tree.link(link, "dev/sdb" if "other" not in link else "dev/sdz")
    found = sysfs.devices(tree.root, own=True)
    assert found.keys() == {"2:0:0:0"}
    disk = found["2:0:0:0"]
    assert (disk.kind, disk.vendor, disk.model, disk.serial, disk.wwn) == ("disk", "ACME", "Disk", "SN-1", WWN)
    assert (disk.block, disk.size, disk.nodes, disk.generic, disk.usable) == ("sdb", 2**20, ("sdb", "sg1"), "sg1", True)
    assert disk.links == ("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", "/dev/disk/by-path/pci-1")
    assert sysfs.devices(tree.root)["2:0:0:0"].usable is None


def test_devices_that_tell_little(tree: Tree) -> None:
    tape = tree.scsi("4:0:1:0", HBA, kind=1, wwid="t10.ACME Tape\n", vpd_pg80=b"\0\x80\0\x02\xff\xfe")
    for name in ("st0", "nst0", "st0a"):
        tree.file(tape / "scsi_tape" / name / "dev")
    tree.scsi("4:0:2:0", HBA, kind=99)
    (tree.root / "sys/bus/scsi/devices/host4").mkdir()
    found = sysfs.devices(tree.root, own=True)
    assert found.keys() == {"4:0:1:0", "4:0:2:0"}
    tape_seen = found["4:0:1:0"]
    assert (tape_seen.kind, tape_seen.nodes, tape_seen.serial, tape_seen.wwn) == ("tape", ("nst0", "st0"), "", "")
    assert (tape_seen.generic, tape_seen.usable) == ("", None)
    assert found["4:0:2:0"].kind == "other"


def test_a_stick_has_the_serial_number_of_its_plug(tree: Tree) -> None:
    tree.file(tree.usb("1-1", HBA, number=2) / "serial", "SN-7\n")
    tree.scsi("6:0:0:1", "1-1")
    tree.usb("1-2", HBA, number=3)
    tree.scsi("7:0:0:0", "1-2")
    assert [each.serial for each in sysfs.devices(tree.root).values()] == ["SN-7-0:1", ""]
    # udev, which libvirt asks, says it with target and LUN as well.
    text = unit("6:0:0:1", "disk", disk("sdb", "scsi_6_0_0_1", "ACME_Fast_Disk_SN-7-0:1", bus="usb"))
    elements = {each.findtext("name") or "": each for each in ElementTree.fromstring(f"<all>{text}</all>")}
    assert nodes.devices_of(elements)["6:0:0:1"].serial == "SN-7-0:1"


def test_what_the_host_needs(tree: Tree) -> None:
    for number, name in enumerate(("sda", "sdb", "sdc")):
        tree.scsi(f"2:0:{number}:0", HBA, node=f"sg{number}")
        tree.block(name, f"2:0:{number}:0")
    tree.mount(tree.block("sda1", below=("sda",), kind="partition"), "/", "/dev/sda1")
    tree.block("dm-0", below=("sdb",), kind="dm:mpath-3:mpatha")
    tree.process(77, "smartd", "/dev/sg2")
    assert codes(tree, "2:0:0:0") == [("mounted", "/ is on sda1, on sda")]
    assert codes(tree, "2:0:1:0") == [("multipath", "mpatha is made of sdb")]
    assert codes(tree, "2:0:2:0") == [("process", "smartd (77) has it open")]


def unit(address: str, kind: str, more: str = "") -> str:
    host, bus, target, lun = address.split(":")
    return (
        f"<device><name>scsi_{address.replace(':', '_')}</name><capability type='scsi'>"
        f"<host>{host}</host><bus>{bus}</bus><target>{target}</target><lun>{lun}</lun><type>{kind}</type></capability></device>{more}"
    )


def disk(name: str, parent: str, serial: str, *, bus: str = "scsi", vendor: str = "ACME", path: str = "") -> str:
    return (
        f"<device><name>block_{name}</name><path>{path}</path><parent>{parent}</parent><capability type='storage'>"
        f"<block>/dev/{name}</block><bus>{bus}</bus><model>Fast Disk</model><vendor>{vendor}</vendor>"
        f"<serial>{serial}</serial><size>1024</size></capability></device>"
    )


def test_what_libvirt_tells_from_elsewhere() -> None:
    text = (
        unit("2:0:0:0", "disk", disk("sdb", "scsi_2_0_0_0", "35000c500a1b2c3d4"))
        + unit("3:0:0:0", "disk", disk("sdc", "x", "Fast_Disk_SN_1", bus="ata", path="/sys/a/host3/3:0:0:0/block/sdc"))
        + unit("4:0:0:0", "disk", disk("sdd", "scsi_4_0_0_0", "0ACME_Fast_Disk_SN-2"))
        + unit("5:0:0:0", "tape")
        + "<device><name>g</name><parent>scsi_5_0_0_0</parent><capability type='scsi_generic'><char>/dev/sg3</char>"
        + "</capability></device>"
        + disk("nvme0n1", "pci_1", "S")
    )
    elements = {each.findtext("name") or "": each for each in ElementTree.fromstring(f"<all>{text}</all>")}
    found = nodes.devices_of(elements)
    assert [(each.wwn, each.serial, each.block) for each in found.values()] == [
        (WWN, "", "sdb"),
        ("", "SN_1", "sdc"),
        ("", "SN-2", "sdd"),
        ("", "", ""),
    ]
    assert found["2:0:0:0"].links == (f"/dev/disk/by-id/scsi-3{WWN[2:]}", f"/dev/disk/by-id/wwn-{WWN}")
    assert found["3:0:0:0"].links == ("/dev/disk/by-id/ata-Fast_Disk_SN_1",)
    assert (found["5:0:0:0"].kind, found["5:0:0:0"].nodes) == ("tape", ("sg3",))
    assert nodes.unseen(found).keys() == {"2:0:0:0", "3:0:0:0", "4:0:0:0"}


def test_what_vms_have() -> None:
    found = Held()
    source = "<adapter name='scsi_host2'/><address bus='0' target='{}' unit='0'/>"
    xml = f"""<domain><name>web1</name><uuid>1</uuid>
      <metadata><kvmctl:vm xmlns:kvmctl='https://kvmctl.dev/xmlns/vm/1'>
        <kvmctl:device address='2:0:1:0' wwn='{WWN}'/></kvmctl:vm></metadata><devices>
      <hostdev mode='subsystem' type='scsi'><source>{source.format(1)}</source></hostdev>
      <hostdev mode='subsystem' type='scsi'><source>{source.format(2)}</source><shareable/></hostdev>
      <hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn'/></hostdev></devices></domain>"""
    add(found, ElementTree.fromstring(xml), running=True)
    assert [(dict(was), holder.vm, holder.shares) for was, holder in found.scsi] == [
        ({"address": "2:0:1:0", "wwn": WWN}, "web1", False),
        ({"address": "2:0:2:0"}, "web1", True),
    ]
