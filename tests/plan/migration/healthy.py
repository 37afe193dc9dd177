"""Two hosts and a VM between them with nothing in its way, and ways to spoil one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from kvmctl.host.tenants import tenant_of
from kvmctl.plan.migration.credentials import Certificate, Credentials, File
from kvmctl.plan.migration.disk import disks_of
from kvmctl.plan.migration.ends import End, Ends, Fit, Guest, Pool, Sight, Way
from kvmctl.plan.migration.wish import Wish
from kvmctl.plan.topology import HostCpu, NumaNode, Tenant, Topology

GIB = 2**30
UUID = "6b766d63-746c-4000-8000-00000000000a"
MACHINE = "pc-q35-7.2"
LOADER = "/usr/share/OVMF/OVMF_CODE_4M.fd"
PATH = "/srv/vm/web1.qcow2"

XML = """\
<domain type='kvm' id='1'>
  <name>web1</name><uuid>{uuid}</uuid>
  <memory unit='GiB'>2</memory><currentMemory unit='GiB'>2</currentMemory>{top}
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {disk}
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
    <serial type='pty'/>
    <graphics type='vnc' port='5900' autoport='yes' listen='127.0.0.1'/>
    {devices}
  </devices>
</domain>"""

DISK = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/vm/web1.qcow2'/>
<target dev='vda' bus='virtio'/></disk>"""
CPU = "<cpu mode='custom' match='exact'><model>Skylake-Server</model></cpu>"


def topology(cpus: int = 8, memory: int = 16 * GIB) -> Topology:
    return Topology(
        cpus={number: HostCpu(number=number, node=0, core=number, cache=0) for number in range(cpus)},
        nodes={0: NumaNode(number=0, memory=memory, free=memory, distances={0: 10})},
    )


NOW = 1_800_000_000.0
DAY = 86400.0
AUTHORITY = "CN=authority"


def certificate(name: str, **changes: Any) -> Certificate:
    """Of a host, signed by the authority that all hosts trust."""
    known = Certificate(
        subject=f"CN={name}",
        issuer=AUTHORITY,
        begins=NOW - DAY,
        ends=NOW + 30 * DAY,
        common_name=name,
        names=(name, "10.0.0.2"),
        purposes=frozenset({"TLS Web Server Authentication", "TLS Web Client Authentication"}),
        usages=frozenset({"Digital Signature"}),
    )
    return replace(known, **changes)


def credentials(name: str, **changes: Any) -> Credentials:
    """All that a host needs for TLS, whichever side it is."""
    authority = certificate("authority", subject=AUTHORITY, authority=True, names=())
    known = Credentials(
        now=NOW,
        user="libvirt-qemu",
        directory="/etc/pki/qemu",
        authority=File(path="/etc/pki/qemu/ca-cert.pem", certificates=(authority,)),
        certificate=File(path="/etc/pki/qemu/cert.pem", certificates=(certificate(name),)),
        key=File(path="/etc/pki/qemu/key.pem"),
    )
    return replace(known, **changes)


def end(name: str, **changes: Any) -> End:
    """A host that has all that the VM needs."""
    known = End(
        name=name,
        hostname=name,
        uuid=f"uuid of {name}",
        libvirt=9_000_000,
        qemu=7_002_022,
        machines={("x86_64", "kvm"): frozenset({MACHINE, "q35"}), ("x86_64", "qemu"): frozenset({MACHINE, "q35"})},
        cpu_model="Skylake-Server",
        cpu_vendor="Intel",
        networks={"default": True},
        interfaces=frozenset({"br0", "eth0"}),
        pools={"default": Pool(type="dir", path="/srv/vm")},
        secrets=frozenset(),
        filters=frozenset(),
        security=frozenset({"apparmor", "dac"}),
        memory=16 * GIB,
        memory_free=12 * GIB,
        topology=topology(),
        tenants=(Tenant(vm="other", uuid="uuid of other", memory=GIB),),
        ports={5901: "other"},
        credentials=credentials(name),
    )
    return replace(known, **changes)


def domain(
    *, top: str = "", os: str = "", disk: str = DISK, devices: str = "", machine: str = MACHINE, running: bool = True
) -> Element:
    text = XML.format(uuid=UUID, top=top, os=os, disk=disk, devices=devices, machine=machine)
    return ElementTree.fromstring(text if running else text.replace(" id='1'", ""))


def guest(xml: Element | None = None, *, cpu: str = CPU, **changes: Any) -> Guest:
    xml = domain() if xml is None else xml
    running = changes.get("running", True)
    known = Guest(
        name="web1",
        uuid=UUID,
        xml=xml,
        disks=disks_of(xml),
        cpu=ElementTree.fromstring(cpu) if cpu else None,
        memory=2 * GIB,
        resident=GIB,
        tenant=tenant_of(xml, running=running),
    )
    return replace(known, **changes)


def seen(there: str = PATH, **changes: Any) -> Sight:
    """A file that both hosts see."""
    known = Sight(there=there, sharing="shared", present=True, size_here=GIB, size_there=GIB, allocated=GIB // 2)
    return replace(known, **{"how": "seen there", "room": 100 * GIB, "store": "/srv/vm", **changes})


def local(there: str = PATH, **changes: Any) -> Sight:
    """A file that only the source has."""
    alone = replace(seen(there), sharing="separate", present=False, size_there=None, how="not seen there")
    return replace(alone, **changes)


WAY = Way(peer_uri="qemu+tcp://host2/system", address="host2", addresses=("10.0.0.2",))


def ends(
    vm: Guest | None = None,
    *,
    source: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    wish: Wish | None = None,
    way: Way = WAY,
    fit: Fit | None = None,
    sights: Mapping[str, Sight] | None = None,
) -> Ends:
    return Ends(
        wish=wish or Wish(),
        guest=vm or guest(),
        source=end("host1", **(source or {})),
        target=end("host2", **(target or {})),
        fit=fit or Fit(loaders=frozenset({LOADER}), tpm_backends=frozenset({"emulator"})),
        way=way,
        sights={PATH: seen(), **(sights or {})},
    )
