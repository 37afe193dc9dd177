"""What is made of libvirt's node devices alone, as of a host elsewhere: in doubt a device is needed."""

from __future__ import annotations

from xml.etree import ElementTree

from kvmctl.host.pci.nodes import devices_of, mdevs_of, unseen
from kvmctl.plan.pci.facts import Inventory, Iommu, Mdev
from kvmctl.plan.pci.verdict import verdict


def pci(address: str, number: str, *, parent: str = "computer", driver: str = "", more: str = "") -> str:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    name = f"pci_{domain}_{bus}_{slot}_{function}"
    bound = f"<driver><name>{driver}</name></driver>" if driver else ""
    return (
        f"<device><name>{name}</name><parent>{parent}</parent>{bound}<capability type='pci'><class>{number}</class>"
        f"<domain>{int(domain, 16)}</domain><bus>{int(bus, 16)}</bus><slot>{int(slot, 16)}</slot>"
        f"<function>{function}</function><product id='0x10c9'>Card</product><vendor id='0x8086'>Acme</vendor>{more}"
        "<iommuGroup number='GROUP'/></capability></device>"
    )


def net(name: str, parent: str, state: str) -> str:
    return (
        f"<device><name>net_{name}</name><parent>{parent}</parent><capability type='net'><interface>{name}</interface>"
        f"<link state='{state}'/></capability></device>"
    )


def disk(name: str, path: str) -> str:
    return (
        f"<device><name>block_{name}</name><path>/sys/devices/{path}</path><parent>scsi_0_0_0_0</parent>"
        f"<capability type='storage'><block>/dev/{name}</block><serial>S1</serial></capability></device>"
    )


VF = "<capability type='phys_function'><address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></capability>"
MDEV = (
    "<device><name>mdev_c2177883_f1bb_47f0_914d_32a22e3a8804</name><parent>pci_0000_06_00_0</parent>"
    "<capability type='mdev'><type id='x'/></capability></device>"
)
LATER = (
    "<device><name>mdev_d2177883_f1bb_47f0_914d_32a22e3a8804_0000_07_00_0</name><parent>computer</parent>"
    "<capability type='mdev'><type id='nvidia-35'/><uuid>D2177883-f1bb-47f0-914d-32a22e3a8804</uuid>"
    "<parent_addr>0000:07:00.0</parent_addr></capability></device>"
)
TYPES = (
    "<capability type='mdev_types'><type id='nvidia-35'><name>GRID T4-1B</name><deviceAPI>vfio-pci</deviceAPI>"
    "<availableInstances>16</availableInstances></type></capability>"
)
TEXTS = (
    pci("0000:00:01.0", "0x060400", driver="pcieport"),
    pci("0000:00:0e.0", "0x010400", driver="vmd"),
    pci("10000:e1:00.0", "0x010802", parent="pci_0000_00_0e_0", driver="nvme"),
    disk("nvme0n1", "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme0/nvme0n1"),
    pci("0000:01:00.0", "0x010601", driver="ahci"),
    disk("sda", "pci0000:00/0000:00:01.0/0000:01:00.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"),
    pci("0000:02:00.0", "0x020000", driver="igb"),
    net("eth0", "pci_0000_02_00_0", "down"),
    pci("0000:02:10.0", "0x020000", driver="igbvf", more=VF),
    net("eth0v0", "pci_0000_02_10_0", "up"),
    pci("0000:02:10.2", "0x020000", driver="igbvf", more=VF),
    net("eth0v1", "pci_0000_02_10_2", "down"),
    pci("0000:02:10.4", "0x020000", driver="igbvf", more=VF),
    pci("0000:03:00.0", "0x010802", driver="nvme"),
    pci("0000:04:00.0", "0x010802", driver="vfio-pci"),
    pci("0000:05:00.0", "0x030000", driver="ast"),
    pci("0000:06:00.0", "0x030200", driver="nvidia"),
    MDEV,
)


def test_what_may_be_needed_is() -> None:
    texts = [text.replace("GROUP", str(number)) for number, text in enumerate(TEXTS)]
    elements = {element.findtext("name") or "": element for element in map(ElementTree.fromstring, texts)}
    devices = devices_of(elements)
    known = Inventory(host="h", devices=devices, needs=unseen(devices), iommu=Iommu(enabled=True), local=False)
    assert {address: verdict(known, address).word for address in devices} == {
        "0000:00:01.0": "not-assignable",
        "0000:00:0e.0": "needed",  # its disk is behind it
        "10000:e1:00.0": "needed",
        "0000:01:00.0": "needed",
        "0000:02:00.0": "needed",
        "0000:02:10.0": "needed",
        "0000:02:10.2": "free",  # nobody uses an interface that is down
        "0000:02:10.4": "needed",  # no interface is to be seen: another network namespace may have it
        "0000:03:00.0": "needed",  # its disk may have several ways to it, and then hangs on none of them
        "0000:04:00.0": "free",
        "0000:05:00.0": "needed",  # it may show the console
        "0000:06:00.0": "free",
    }
    assert "on 10000:e1:00.0" in known.needs["0000:00:0e.0"][0].sentence
    assert devices["0000:01:00.0"].blocks == ("sda",)


def test_mediated_devices_of_older_and_newer_daemons() -> None:
    """Older ones tell no UUID but in the name; of one whose device is not there the address is told alone."""
    texts = (pci("0000:06:00.0", "0x030200", more=TYPES).replace("GROUP", "1"), MDEV, LATER)
    elements = {element.findtext("name") or "": element for element in map(ElementTree.fromstring, texts)}
    _, old, new = elements
    found = mdevs_of(elements, {old: (True, False, False), new: (False, True, True)})
    first, second = "c2177883-f1bb-47f0-914d-32a22e3a8804", "d2177883-f1bb-47f0-914d-32a22e3a8804"
    assert found == {
        first: Mdev(uuid=first, type="x", parent="0000:06:00.0"),
        second: Mdev(uuid=second, type="nvidia-35", parent="0000:07:00.0", active=False, defined=True, autostart=True),
    }
    assert mdevs_of(elements, {}) == {}
    [kind] = devices_of(elements)["0000:06:00.0"].mdev_types
    assert (kind.id, kind.name, kind.free) == ("nvidia-35", "GRID T4-1B", 16)
