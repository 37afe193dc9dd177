"""Who has which device, by what domains say."""

from __future__ import annotations

from xml.etree import ElementTree

from kvmctl.host.pci.holders import Held, add

XML = """
<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>web1</name><uuid>1</uuid>
  <devices>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/></source>
      <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
    </hostdev>
    <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>
    <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      <source><address uuid='C2177883-F1BB-47F0-914D-32A22E3A8804'/></source>
    </hostdev>
    <interface type='hostdev' managed='no'>
      <source><address type='pci' domain='0' bus='0x3b' slot='0x10' function='0'/></source>
    </interface>
    <interface type='network'><source network='default'/>
      <address type='pci' domain='0' bus='1' slot='0' function='0'/></interface>
    <interface type='direct'><source dev='eth1' mode='bridge'/></interface>
    <disk type='nvme' device='disk'>
      <source type='pci' managed='yes' namespace='1'>
        <address domain='0x0000' bus='0x81' slot='0x00' function='0x0'/></source>
    </disk>
    <disk type='block'><source dev='/dev/sdz'/></disk>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-device'/><qemu:arg value='vfio-pci,host=0A:00.0,id=x'/>
    <qemu:arg value='{"driver":"vfio-pci","host":"0000:0a:00.1"}'/>
    <qemu:arg value='vfio-pci,sysfsdev=/sys/bus/pci/devices/0001:0b:00.0'/>
    <qemu:arg value='host=0a:00.2'/>
  </qemu:commandline>
</domain>
"""


def test_every_way_to_have_a_device() -> None:
    found = Held()
    add(found, ElementTree.fromstring(XML), running=True)
    assert {address: (each[0].managed, each[0].through) for address, each in found.devices.items()} == {
        "0000:3b:00.1": (True, ""),
        "0000:3b:10.0": (False, ""),
        "0000:81:00.0": (True, ""),
        "0000:0a:00.0": (False, "by arguments of its QEMU"),
        "0000:0a:00.1": (False, "by arguments of its QEMU"),
        "0001:0b:00.0": (False, "by arguments of its QEMU"),
    }
    assert found.disks == {"sdz": ["web1"]}
    assert found.cards == {"eth1": ["web1"]}
    [holder] = found.mdevs["c2177883-f1bb-47f0-914d-32a22e3a8804"]
    assert (holder.vm, holder.running, holder.through[:10]) == ("web1", True, "mdev c2177")
