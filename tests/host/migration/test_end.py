"""What is read from what libvirt says of a host."""

from __future__ import annotations

from xml.etree import ElementTree

from kvmctl.host.migration.end import machines
from kvmctl.host.migration.met import content, ports

CAPABILITIES = """\
<capabilities>
  <guest><arch name='x86_64'>
    <machine canonical='pc-q35-7.2'>q35</machine><machine>pc-q35-6.2</machine>
    <domain type='qemu'/><domain type='kvm'><machine>special</machine></domain>
  </arch></guest>
  <guest><arch name='aarch64'><machine>virt</machine><domain type='qemu'/></arch></guest>
</capabilities>"""

DOMAIN = """\
<domain{id}><devices>
  <graphics type='spice' port='5901' tlsPort='5902' autoport='no'/><graphics type='vnc' port='-1'/>
  <serial type='tcp'><source mode='bind' host='::' service='4555'/></serial>
  <serial type='tcp'><source mode='connect' host='logs' service='514'/></serial>
</devices></domain>"""


def test_machines() -> None:
    found = machines(ElementTree.fromstring(CAPABILITIES))
    common = {"q35", "pc-q35-7.2", "pc-q35-6.2"}
    assert {name for name in found["x86_64", "qemu"] if name} == common
    assert {name for name in found["x86_64", "kvm"] if name} == common | {"special"}
    assert set(found) == {("x86_64", "qemu"), ("x86_64", "kvm"), ("aarch64", "qemu")}


def test_ports_of_a_running_vm() -> None:
    assert sorted(ports(ElementTree.fromstring(DOMAIN.format(id=" id='3'")))) == [4555, 5901, 5902]
    assert not list(ports(ElementTree.fromstring(DOMAIN.format(id=""))))


def test_where_a_pool_has_its_content_from() -> None:
    """Who asks for it, and by which secret, does not matter; the order of hosts neither."""
    one = "<pool><source><host name='a'/><host name='b'/><name>rbd</name><auth username='x'/></source></pool>"
    two = "<pool><source><name>rbd</name><host name='b'/><host name='a'/><auth username='y'/></source></pool>"
    other = one.replace("<name>rbd", "<name>ssd")
    found = [content(ElementTree.fromstring(text)) for text in (one, two, other, "<pool><source/></pool>")]
    assert found[0] == found[1] != found[2]
    assert found[3] == ""
