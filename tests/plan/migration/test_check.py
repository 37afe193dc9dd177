"""Every obstacle, seeded one by one into a move that has none: found by its code, and nothing else cried."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from kvmctl.plan.migration.check import AREAS, findings, looked
from kvmctl.plan.migration.credentials import Credentials, File
from kvmctl.plan.migration.ends import Ends, Fit, Pool, Way
from kvmctl.plan.migration.wish import Wish
from kvmctl.plan.topology import NumaNode, PagePool, Tenant, Topology
from kvmctl.spec.metadata import NAMESPACE
from tests.environment import ROOT
from tests.plan.migration.healthy import (
    DAY,
    DISK,
    GIB,
    LOADER,
    NOW,
    PATH,
    UUID,
    WAY,
    certificate,
    credentials,
    domain,
    end,
    ends,
    guest,
    local,
    seen,
    topology,
)

ISO = "<disk type='file' device='cdrom'><source file='/iso/a.iso'/><target dev='sda'/><readonly/></disk>"
RBD = """<disk type='network' device='disk'><driver type='raw'/>
<auth username='a'><secret type='ceph' uuid='s-1'/></auth>
<source protocol='rbd' name='pool/web1'><host name='mon1'/></source><target dev='vdb'/></disk>"""
NBD = """<disk type='network' device='disk'><source protocol='nbd' name='x'><host name='{host}'/></source>
<target dev='vdb'/></disk>"""
VOLUME = "<disk type='volume' device='disk'><source pool='{pool}' volume='x'/><target dev='vdb'/></disk>"
BLOCK = "<disk type='block' device='disk'><source dev='/dev/sdb'/><target dev='vdb'/></disk>"
SCSI = "<adapter name='scsi_host2'/><address bus='0' target='1' unit='4'/>"
PCI = "<address domain='0x0000' bus='0x3b' slot='0x00' function='0x0'/>"
HOSTDEV = "<hostdev mode='subsystem' type='{type}'>{more}<source>{source}</source></hostdev>"
HUGE = "<memoryBacking><hugepages><page size='{size}' unit='KiB'/></hugepages></memoryBacking>"
PINNED = "<cputune><vcpupin vcpu='0' cpuset='40'/></cputune>"
CHOSEN = """<metadata><kvmctl:vm xmlns:kvmctl='{ns}'><kvmctl:placement pin='auto'/></kvmctl:vm></metadata>
<cputune><vcpupin vcpu='0' cpuset='40'/></cputune>"""
FEATURES = frozenset({"avx2", "sse2"})


def with_devices(text: str, **more: Any) -> Ends:
    return ends(guest(domain(devices=text)), **more)


def encrypted(form: str = "raw", *, running: bool = True, target: dict[str, Any] | None = None, **more: Any) -> Ends:
    """A VM with a disk behind LUKS, and its secret at the target."""
    secret = "<encryption format='luks'><secret type='passphrase' uuid='s-2'/></encryption>"
    disk = DISK.replace("qcow2'/>", f"{form}'/>{secret}", 1)
    vm = guest(domain(disk=disk, running=running), running=running)
    return ends(vm, target={"secrets": frozenset({"s-2"}), **(target or {})}, **more)


def with_top(text: str, **more: Any) -> Ends:
    return ends(guest(domain(top=text)), **more)


def pages(size: int, total: int, free: int) -> Topology:
    """A host with huge pages."""
    node = NumaNode(number=0, memory=16 * GIB, free=16 * GIB, pages={size: PagePool(total=total, free=free)})
    return Topology(cpus=topology().cpus, nodes={0: node})


def passthrough(**target: Any) -> Ends:
    """A guest that sees the host's own CPU."""
    return ends(
        guest(cpu="<cpu mode='host-passthrough'/>"),
        source={"cpu_features": FEATURES},
        target={"cpu_features": FEATURES, **target},
    )


def over_tls(source: Credentials | None = None, target: Credentials | None = None, **more: Any) -> Ends:
    """A move over TLS, with what one of both hosts has for it."""
    here, there = source or credentials("host1"), target or credentials("host2")
    return ends(source={"credentials": here}, target={"credentials": there}, wish=Wish(tls=True), **more)


def shown(name: str, **changes: Any) -> Credentials:
    """What a host has whose own certificate is not quite the right one."""
    return credentials(name, certificate=File(path="/x/cert.pem", certificates=(certificate(name, **changes),)))


def emulated() -> Element:
    xml = domain()
    xml.set("type", "qemu")
    return xml


NONE = {
    "certificate": File(path="/x/client-cert.pem", missing=True),
    "key": File(path="/x/client-key.pem", missing=True),
}
SIGNS = frozenset({"Certificate Sign"})
FOR_CLIENTS = frozenset({"TLS Web Client Authentication"})
OLD = File(
    path="/x/ca-cert.pem",
    certificates=(
        certificate("authority", authority=True),
        certificate("old", authority=True, ends=NOW - DAY),
    ),
)
OFF = guest(domain(running=False), running=False)
TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
TPM_FILE = f"/var/lib/libvirt/swtpm/{UUID}/tpm2/tpm2-00.permall"
WITH_TPM = Fit(tpm_backends=frozenset({"emulator"}), tpm_versions=frozenset({"2.0"}))
BACKED = seen(backing=("/base/debian.qcow2",))
COPY = Wish(copy_disks=True)

SEEDS: dict[str, tuple[str, Ends]] = {
    # -- hosts ------------------------------------------------------------------------------------------------------
    "host-embedded": ("blocker", ends(target={"embedded": True}, way=Way(asked=False))),
    "host-not-qemu": ("blocker", ends(target={"hypervisor": "Test"})),
    "same-host": ("blocker", ends(target={"uuid": "uuid of host1", "hostname": "host1"})),
    "same-host: a UUID that two machines have": ("blocker", ends(target={"uuid": "uuid of host1"})),
    "peer-unreachable": ("note", ends(way=replace(WAY, peer_uri=None, peer_problem="Connection refused"))),
    "peer-unreachable: asked for": (
        "blocker",
        ends(way=replace(WAY, peer_uri=None, peer_problem="Connection refused"), wish=Wish(peer_to_peer=True)),
    ),
    "peer-silent": ("blocker", ends(way=replace(WAY, peer_uri=None, peer_problem="no answer", waits=True))),
    "target-name": ("note", ends(way=replace(WAY, loopback=True))),
    "target-name: no other": ("blocker", ends(way=replace(WAY, loopback=True, address=""))),
    "plain-text": ("blocker", ends(way=replace(WAY, addresses=("198.51.100.7", "10.0.0.2")))),
    "plain-text: not known where": ("blocker", ends(way=replace(WAY, addresses=()))),
    "plain-text: as wished": ("warning", ends(way=replace(WAY, addresses=("2600::1",)), wish=Wish(insecure=True))),
    "ports-closed": ("warning", ends(way=replace(WAY, closed="port 49152 does not answer"))),
    "ports-closed: of the very address": (
        "blocker",
        ends(way=replace(WAY, configured="tcp://10.9.0.2", closed="port 49152 does not answer")),
    ),
    "uuid-taken": ("blocker", ends(target={"tenants": (Tenant(vm="web1", uuid=UUID, running=False),)})),
    "uuid-taken: by another name": ("blocker", ends(target={"tenants": (Tenant(vm="web2", uuid=UUID),)})),
    "name-taken": ("blocker", ends(target={"tenants": (Tenant(vm="web1", uuid="another"),)})),
    "port-taken": ("blocker", with_devices("<graphics type='spice' port='5901' autoport='no'/>")),
    "port-taken: serial": (
        "blocker",
        with_devices("<serial type='tcp'><source mode='bind' host='0.0.0.0' service='5901'/></serial>"),
    ),
    "listen-address": (
        "warning",
        with_devices("<graphics type='vnc' autoport='yes'><listen type='address' address='10.0.0.1'/></graphics>"),
    ),
    # -- certificates -----------------------------------------------------------------------------------------------
    "certificates-unseen": ("note", ends(target={"credentials": None}, wish=Wish(tls=True))),
    "certificates-unseen: not all": ("note", over_tls(credentials("host1", unseen="no openssl", remedy="install it"))),
    "certificate-missing": ("blocker", over_tls(credentials("host1", authority=File(path="/x/ca.pem", missing=True)))),
    "certificate-missing: no client has one": (
        "blocker",
        over_tls(credentials("host1", **NONE), credentials("host2", verify=True)),
    ),
    "certificate-missing: no server has one": ("blocker", over_tls(target=credentials("host2", verify=False, **NONE))),
    "certificate-missing: one of both": (
        "blocker",
        over_tls(
            credentials("host1", key=NONE["key"]),
            credentials("host2", verify=False),
        ),
    ),
    "certificate-unreadable": (
        "blocker",
        over_tls(target=credentials("host2", key=File(path="/x/key.pem", obstacle="/x"))),
    ),
    "certificate-damaged": (
        "blocker",
        over_tls(target=credentials("host2", certificate=File(path="/x/cert.pem", damaged="there is none in it"))),
    ),
    "certificate-expired": ("blocker", over_tls(shown("host1", ends=NOW - 1))),
    "certificate-expired: one of several authorities": ("blocker", over_tls(credentials("host1", authority=OLD))),
    "certificate-not-yet-valid": ("blocker", over_tls(target=shown("host2", begins=NOW + 60))),
    "certificate-expires": ("warning", over_tls(target=shown("host2", ends=NOW + 14 * DAY - 1))),
    "certificate-purpose: an authority": ("blocker", over_tls(shown("host1", authority=True))),
    "certificate-purpose: usage": ("blocker", over_tls(shown("host1", usages=SIGNS, critical=frozenset({"usages"})))),
    "certificate-purpose: usage, not critical": ("warning", over_tls(shown("host1", usages=SIGNS))),
    "certificate-purpose": (
        "blocker",
        over_tls(target=shown("host2", purposes=FOR_CLIENTS, critical=frozenset({"purposes"}))),
    ),
    "certificate-purpose: not critical": ("note", over_tls(target=shown("host2", purposes=FOR_CLIENTS))),
    "certificate-purpose: no authority": (
        "blocker",
        over_tls(
            credentials("host1", authority=File(path="/x/ca-cert.pem", certificates=(certificate("authority"),))),
        ),
    ),
    "certificate-untrusted": ("blocker", over_tls(credentials("host1", untrusted="unable to get issuer"))),
    "certificate-untrusted: by the other end": ("blocker", over_tls(shown("host1", issuer="CN=stranger"))),
    "certificate-name": ("blocker", over_tls(target=shown("host2", names=("elsewhere",)))),
    "certificate-name: address": ("blocker", over_tls(way=replace(WAY, configured="tcp://10.0.0.3:49152"))),
    # -- state ------------------------------------------------------------------------------------------------------
    "half-created": (
        "blocker",
        with_top(f"<metadata><vm xmlns='{NAMESPACE}'><creating/></vm></metadata>"),
    ),
    "job-running": ("blocker", ends(guest(job="it is being migrated"))),
    "block-job": (
        "blocker",
        ends(guest(domain(disk=DISK.replace("</disk>", "<mirror type='file'><source file='/x'/></mirror></disk>")))),
    ),
    "guest-failed": ("blocker", ends(guest(failed="a disk had an error"))),
    "memory-saved": ("blocker", ends(replace(OFF, saved=True))),
    "state-left-behind": (
        "blocker",
        ends(
            guest(domain(os="<nvram>/nvram/web1.fd</nvram>", running=False), running=False),
            sights={"/nvram/web1.fd": local("/nvram/web1.fd")},
        ),
    ),
    "state-left-behind: TPM": (
        "blocker",
        ends(
            guest(domain(devices=TPM, running=False), running=False),
            sights={TPM_FILE: local(TPM_FILE, present=True, sharing="unknown")},
        ),
    ),
    "snapshots": ("blocker", ends(guest(snapshots=2))),
    "checkpoints": ("blocker", ends(guest(checkpoints=1))),
    "libvirt-refuses": ("blocker", ends(guest(refusal="cannot migrate domain: of the weather"))),
    # -- software ---------------------------------------------------------------------------------------------------
    "libvirt-older": ("warning", ends(target={"libvirt": 8_009_000})),
    "qemu-older": ("warning", ends(target={"qemu": 7_001_090})),
    "qemu-missing": ("blocker", ends(target={"machines": {("aarch64", "kvm"): frozenset({"virt"})}})),
    "accelerator-missing": ("blocker", ends(target={"machines": {("x86_64", "qemu"): frozenset({"pc-q35-7.2"})}})),
    "machine-missing": ("blocker", ends(target={"machines": {("x86_64", "kvm"): frozenset({"pc-q35-6.2"})}})),
    "emulator-missing": ("blocker", ends(fit=Fit(problem="Cannot check QEMU binary"))),
    "firmware-missing": (
        "blocker",
        ends(
            guest(domain(os="<loader type='pflash'>/fw/code.fd</loader>")),
            sights={"/fw/code.fd": local("/fw/code.fd")},
        ),
    ),
    "firmware-missing: template": (
        "blocker",
        ends(
            guest(domain(os=f"<loader>{LOADER}</loader><nvram template='/fw/vars.fd'>/x</nvram>")),
            sights={"/fw/vars.fd": local("/fw/vars.fd"), LOADER: local(LOADER)},
        ),
    ),
    "kernel-missing": (
        "blocker",
        ends(guest(domain(os="<kernel>/boot/vmlinuz</kernel>")), sights={"/boot/vmlinuz": local("/boot/vmlinuz")}),
    ),
    "tpm-missing": (
        "blocker",
        with_devices(TPM, fit=Fit(tpm_backends=frozenset())),
    ),
    "tpm-older": (
        "blocker",
        with_devices(
            TPM,
            fit=Fit(tpm_backends=frozenset({"emulator"}), tpm_versions=frozenset({"1.2"})),
        ),
    ),
    "security-model": ("blocker", with_top("<seclabel type='static' model='selinux'><label>x</label></seclabel>")),
    # -- cpu --------------------------------------------------------------------------------------------------------
    "cpu-incompatible": ("blocker", ends(fit=Fit(cpu_problem="Host CPU does not provide required features: avx512f"))),
    "cpu-passthrough": ("blocker", passthrough(cpu_features=frozenset({"sse2"}))),
    "cpu-passthrough: another vendor": ("blocker", passthrough(cpu_vendor="AMD", cpu_model="EPYC")),
    "cpu-passthrough: newer": ("warning", passthrough(cpu_features=FEATURES | {"avx512f"}, cpu_model="Icelake")),
    "cpu-passthrough: emulated": (
        "blocker",
        ends(guest(emulated(), cpu="<cpu mode='maximum'/>"), target={"qemu": 8_000_000}),
    ),
    "cpu-not-migratable": ("blocker", ends(guest(cpu="<cpu mode='custom' migratable='off'><model>x</model></cpu>"))),
    "cpu-not-migratable: invtsc": (
        "blocker",
        ends(guest(cpu="<cpu mode='custom'><model>x</model><feature policy='require' name='invtsc'/></cpu>")),
    ),
    # -- devices ----------------------------------------------------------------------------------------------------
    "host-device": ("blocker", with_devices(HOSTDEV.format(type="pci", more="", source=PCI))),
    "host-device: a SCSI disk": ("blocker", with_devices(HOSTDEV.format(type="scsi", more="", source=SCSI))),
    "host-device: of a VM that is off": (
        "blocker",
        ends(
            replace(
                guest(domain(devices=HOSTDEV.format(type="pci", more="", source=PCI), running=False)), running=False
            )
        ),
    ),
    "host-device: network": (
        "blocker",
        with_devices(f"<interface type='hostdev'><mac address='52:54:00:00:00:02'/><source>{PCI}</source></interface>"),
    ),
    "host-device: NVMe": (
        "blocker",
        ends(guest(domain(disk=f"<disk type='nvme'><source type='pci'>{PCI}</source><target dev='vda'/></disk>"))),
    ),
    "failover-device": (
        "note",
        with_devices(
            HOSTDEV.format(type="pci", more="<teaming type='transient' persistent='ua-net0'/>", source=PCI),
        ),
    ),
    "device-carried": (
        "note",
        replace(
            with_devices(HOSTDEV.format(type="pci", more="", source=PCI)),
            likes={"0000:3b:00.0": "0000:3b:00.1"},
            carried=("0000:3b:00.0",),
        ),
    ),
    "device-swapped": (
        "note",
        replace(with_devices(HOSTDEV.format(type="pci", more="", source=PCI)), likes={"0000:3b:00.0": "0000:3b:00.1"}),
    ),
    "mediated-device": ("blocker", with_devices(HOSTDEV.format(type="mdev", more="", source="<address uuid='u'/>"))),
    "usb-device": (
        "blocker",
        with_devices(
            HOSTDEV.format(type="usb", more="", source="<vendor id='0x1d6b'/><product id='0x0002'/>"),
        ),
    ),
    "vhost-user": ("warning", with_devices("<interface type='vhostuser'><source path='/run/a.sock'/></interface>")),
    "vhost-user: disk": (
        "blocker",
        ends(guest(domain(disk="<disk type='vhostuser'><source type='unix' path='/a'/><target dev='vda'/></disk>"))),
    ),
    "virtiofs": (
        "blocker",
        with_devices(
            "<filesystem><driver type='virtiofs'/><source dir='/srv'/><target dir='data'/></filesystem>",
        ),
    ),
    "shared-folder": (
        "warning",
        with_devices("<filesystem type='mount'><source dir='/srv'/><target dir='data'/></filesystem>"),
    ),
    "shared-memory": ("blocker", with_devices("<shmem name='s'><model type='ivshmem-plain'/></shmem>")),
    "tpm-passthrough": (
        "blocker",
        with_devices("<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"),
    ),
    "host-line": ("blocker", with_devices("<serial type='dev'><source path='/dev/ttyS0'/></serial>")),
    "path-missing": (
        "blocker",
        with_devices(
            "<serial type='pty'><log file='/logs/a.log'/></serial>",
            sights={"/logs/a.log": local("/logs/a.log", directory=False)},
        ),
    ),
    "gpu-acceleration": (
        "blocker",
        with_devices("<video><model type='virtio'><acceleration accel3d='yes'/></model></video>"),
    ),
    "encrypted-memory": ("blocker", with_top("<launchSecurity type='sev'/>")),
    # -- networks ---------------------------------------------------------------------------------------------------
    "network-missing": ("blocker", ends(target={"networks": {"lan": True}})),
    "network-missing: mapped to nothing": ("blocker", ends(wish=Wish(maps={"network:default": "lan"}))),
    "network-inactive": ("blocker", ends(target={"networks": {"default": False}})),
    "bridge-missing": ("blocker", with_devices("<interface type='bridge'><source bridge='br7'/></interface>")),
    "interface-missing": ("blocker", with_devices("<interface type='direct'><source dev='eth7'/></interface>")),
    "interface-unseen": (
        "note",
        with_devices("<interface type='bridge'><source bridge='br7'/></interface>", target={"cards_only": True}),
    ),
    "filter-missing": (
        "blocker",
        with_devices(
            "<interface type='network'><source network='default'/><filterref filter='clean-traffic'/></interface>",
        ),
    ),
    # -- storage ----------------------------------------------------------------------------------------------------
    "disk-not-shared": ("blocker", ends(sights={PATH: local()})),
    "disk-not-shared: another file": ("blocker", ends(sights={PATH: local(present=True)})),
    "disk-not-shared: served by the source": ("blocker", ends(guest(domain(disk=NBD.format(host="localhost"))))),
    "disk-not-shared: only read": (
        "blocker",
        ends(guest(domain(disk=DISK.replace("</disk>", "<readonly/></disk>"))), sights={PATH: local()}),
    ),
    "disk-differs": (
        "blocker",
        ends(
            guest(domain(disk=DISK.replace("</disk>", "<readonly/></disk>"))),
            sights={PATH: local(present=True, size_there=1)},
        ),
    ),
    "disk-sharing-unknown": ("blocker", ends(sights={PATH: seen(sharing="unknown")})),
    "disk-sharing-unknown: said to be": (
        "warning",
        ends(sights={PATH: seen(sharing="unknown")}, wish=Wish(unsafe=True)),
    ),
    "disk-sharing-unknown: block device": (
        "blocker",
        ends(guest(domain(disk=BLOCK)), sights={"/dev/sdb": seen("/dev/sdb", sharing="unknown")}),
    ),
    "cache-unsafe": ("blocker", ends(guest(domain(disk=DISK.replace("type='qcow2'", "type='qcow2' cache='unsafe'"))))),
    "cdrom-local": ("blocker", with_devices(ISO, sights={"/iso/a.iso": local("/iso/a.iso")})),
    "cdrom-local: the drive itself": (
        "blocker",
        with_devices("<disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sda'/></disk>"),
    ),
    "cdrom-differs": ("blocker", with_devices(ISO, sights={"/iso/a.iso": local(present=True, size_there=1)})),
    "backing-missing": (
        "blocker",
        ends(sights={PATH: BACKED, "/base/debian.qcow2": local("/base/debian.qcow2")}),
    ),
    "backing-differs": (
        "blocker",
        ends(sights={PATH: BACKED, "/base/debian.qcow2": local("/base/debian.qcow2", present=True, size_there=1)}),
    ),
    "pool-missing": ("blocker", with_devices(VOLUME.format(pool="fast"))),
    "pool-inactive": (
        "blocker",
        with_devices(
            VOLUME.format(pool="fast"), target={"pools": {"fast": Pool(type="rbd", active=False, source="name:x")}}
        ),
    ),
    "secret-missing": ("blocker", with_devices(RBD)),
    "secret-unset": ("blocker", encrypted(target={"secret_faults": {"s-2": "unset"}})),
    "secret-other-use": ("blocker", encrypted(target={"secret_faults": {"s-2": "other-use"}})),
    "disk-plain-text": ("warning", encrypted("qcow2", sights={PATH: local()}, wish=COPY)),
    "disk-not-sparse": ("note", encrypted(sights={PATH: local()}, wish=replace(COPY, tls=True))),
    "passphrase-kept": ("warning", encrypted(running=False, sights={PATH: local()}, wish=COPY)),
    "room-missing": ("blocker", ends(sights={PATH: local(room=GIB // 4)}, wish=COPY)),
    "disk-exists": ("blocker", ends(sights={PATH: local(present=True)}, wish=COPY)),
    "path-missing: of a copy": ("blocker", ends(sights={PATH: local(directory=False)}, wish=COPY)),
    # -- memory and place -------------------------------------------------------------------------------------------
    "memory-missing": ("blocker", ends(target={"memory_free": GIB // 2})),
    "memory-tight": ("warning", ends(target={"memory_free": GIB + 1})),
    "memory-beyond-host": ("blocker", ends(target={"topology": topology(memory=GIB), "tenants": ()})),
    "hugepages-not-offered": ("blocker", with_top(HUGE.format(size=2048), source={"topology": pages(2**21, 9000, 0)})),
    "hugepages-missing": ("blocker", with_top(HUGE.format(size=2048), target={"topology": pages(2**21, 4, 4)})),
    "hugepages-short": ("blocker", with_top(HUGE.format(size=2048), target={"topology": pages(2**21, 2048, 4)})),
    "no-such-cpu": ("blocker", with_top(PINNED)),
    "no-such-node": ("blocker", with_top("<numatune><memory mode='strict' nodeset='3'/></numatune>")),
    "cpus-exclusive": (
        "blocker",
        with_top(
            "<cputune><vcpupin vcpu='0' cpuset='3'/></cputune>",
            target={"tenants": (Tenant(vm="rt", uuid="rt", vcpus={0: frozenset({3})}, exclusive=True),)},
        ),
    ),
    "nothing-fits": ("blocker", ends(target={"unplaceable": "all its CPUs belong to VMs that have them alone"})),
    # -- post-copy --------------------------------------------------------------------------------------------------
    "postcopy-impossible": ("note", with_top("<memoryBacking><source type='file'/></memoryBacking>")),
    "postcopy-impossible: asked for": (
        "blocker",
        with_top("<memoryBacking><source type='file'/></memoryBacking>", wish=Wish(postcopy=True)),
    ),
}

POSTCOPY = "postcopy-impossible"
"""Said as a note of all whose disks nothing guards, of a vhost-user device, and of large pages."""


def cries(found: Ends) -> dict[str, str]:
    """Code and verdict of all that is not ok."""
    return {finding.code: finding.verdict for finding in findings(found) if finding.verdict != "ok"}


def test_a_healthy_move_has_nothing_in_its_way() -> None:
    found = findings(ends())
    assert [(each.code, each.verdict) for each in found] == [
        *((code, "ok") for code, fine, _ in AREAS[:8] if fine),
        ("disk-shared", "ok"),
        ("memory", "ok"),
    ]
    assert cries(ends(OFF)) == {}
    remembers = domain(os="<nvram>/nvram/web1.fd</nvram>", devices=TPM, running=False)
    never_started = {"/nvram/web1.fd": local("/nvram/web1.fd", size_here=None)}
    shared = {"/nvram/web1.fd": seen("/nvram/web1.fd"), TPM_FILE: seen(TPM_FILE)}
    for sights in (never_started, shared):
        assert cries(ends(guest(remembers, running=False), sights=sights, fit=WITH_TPM)) == {}
    alone = {"/nvram/web1.fd": local("/nvram/web1.fd"), TPM_FILE: local(TPM_FILE)}
    assert cries(ends(guest(remembers), sights=alone, fit=WITH_TPM)) == {}  # QEMU carries it over


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_seeded_is_found_and_nothing_else(seed: str) -> None:
    verdict, spoilt = SEEDS[seed]
    code = seed.partition(":")[0]
    found = cries(spoilt)
    if code != POSTCOPY and found.get(POSTCOPY) == "note":
        del found[POSTCOPY]
    assert found == {code: verdict}
    told = next(each for each in findings(spoilt) if each.code == code)
    assert told.what and not told.what.endswith(".")
    assert told.hint or verdict == "note"


def test_all_at_once() -> None:
    """One move with an obstacle in every area tells of each."""
    xml = domain(
        top=PINNED,
        os="<kernel>/boot/vmlinuz</kernel>",
        devices=HOSTDEV.format(type="pci", more="", source=PCI) + ISO + RBD,
    )
    spoilt = ends(
        guest(xml, snapshots=1, job="it is being saved"),
        target={"networks": {}, "memory_free": 1, "qemu": 6_000_000, "tenants": (Tenant(vm="web1", uuid="x"),)},
        way=replace(WAY, peer_uri=None, peer_problem="refused", addresses=("198.51.100.7",)),
        fit=Fit(cpu_problem="no avx2"),
        sights={PATH: local(), "/iso/a.iso": local("/iso/a.iso"), "/boot/vmlinuz": local("/boot/vmlinuz")},
    )
    assert cries(spoilt) == {
        "peer-unreachable": "note",
        "plain-text": "blocker",
        "name-taken": "blocker",
        "job-running": "blocker",
        "snapshots": "blocker",
        "qemu-older": "warning",
        "kernel-missing": "blocker",
        "cpu-incompatible": "blocker",
        "host-device": "blocker",
        "network-missing": "blocker",
        "disk-not-shared": "blocker",
        "cdrom-local": "blocker",
        "secret-missing": "blocker",
        "no-such-cpu": "blocker",
        "memory-missing": "blocker",
        "postcopy-impossible": "note",
    }


def test_a_cd_that_is_copied_is_no_obstacle() -> None:
    sights = {PATH: seen(), "/iso/a.iso": local("/iso/a.iso")}
    copied = ends(guest(domain(devices=ISO)), sights=sights, wish=COPY)
    assert "cdrom-local" not in cries(copied)
    assert any(each.subject == "sda" and each.what.endswith("is copied to host2") for each in findings(copied))
    nowhere = ends(guest(domain(devices=ISO)), sights={**sights, "/iso/a.iso": local(directory=False)}, wish=COPY)
    assert cries(nowhere)["cdrom-local"] == "blocker"


def test_every_code_is_seeded() -> None:
    """The codes are read from the sources of the checks, so a new one cannot be forgotten here."""
    sources = sorted((ROOT / "kvmctl/plan/migration").glob("check_*.py"))
    text = "".join(source.read_text() for source in sources)
    verdict = r"(?:blocker|warning|note|unless)\("
    named = set(re.findall(verdict + r"(?:[^\"()]*,\s*)?\s*\"([a-z]+(?:-[a-z]+)*)\"", text))
    named |= set(re.findall(r"\"([a-z]+(?:-[a-z]+)+)\" (?:if|else)", text))
    named |= set(re.findall(r"code, what = \"([a-z-]+)\"", text))
    seeded = {seed.partition(":")[0] for seed in SEEDS}
    assert named - seeded == set()


# -- what is not in the way -------------------------------------------------------------------------------------------


def test_what_is_mapped_is_looked_for_by_its_new_name() -> None:
    wish = Wish(maps={"network:default": "lan", "bridge:br7": "br0", "pool:fast": "default"})
    xml = domain(devices="<interface type='bridge'><source bridge='br7'/></interface>" + VOLUME.format(pool="fast"))
    mapped = ends(
        guest(xml),
        target={"networks": {"lan": True}, "pools": {"default": Pool(type="rbd", source="name:a")}},
        source={"pools": {"fast": Pool(type="rbd", source="name:a")}},
        wish=wish,
    )
    assert set(cries(mapped)) == {POSTCOPY}
    assert looked(mapped).disks == {"vda": "shared", "vdb": "shared"}


def test_copies_that_have_room() -> None:
    """A disk that is not shared is copied; the image below it is there already."""
    below = {"/base/debian.qcow2": local("/base/debian.qcow2", present=True, size_there=GIB)}
    found = ends(sights={PATH: local(backing=("/base/debian.qcow2",), room=GIB // 2), **below}, wish=COPY)
    assert set(cries(found)) == {POSTCOPY}
    assert looked(found).unsafe
    assert not looked(found).lockable
    assert looked(found).copied == GIB // 2
    assert looked(ends(sights={PATH: local()})).copied == 0


def test_images_that_are_not_there_need_room_too() -> None:
    below = {"/base/debian.qcow2": local("/base/debian.qcow2", allocated=GIB)}
    found = ends(sights={PATH: local(backing=("/base/debian.qcow2",), room=GIB), **below}, wish=COPY)
    assert cries(found)["room-missing"] == "blocker"


def test_all_of_a_raw_encrypted_disk_needs_room() -> None:
    """Half of it is allocated here; encryption has no holes, and a header. A file that is sent keeps them."""
    for room, form, running, missing in (
        (GIB, "raw", True, True),
        (GIB + 2 * 2**20, "raw", True, False),
        (GIB // 2, "qcow2", True, False),
        (GIB // 2, "raw", False, False),
    ):
        found = encrypted(form, running=running, sights={PATH: local(room=room)}, wish=COPY)
        assert ("room-missing" in cries(found)) is missing


def test_two_copies_share_the_room() -> None:
    second = DISK.replace("web1.qcow2", "data.qcow2").replace("vda", "vdb")
    both = {PATH: local(room=GIB - 1), "/srv/vm/data.qcow2": local("/srv/vm/data.qcow2", room=GIB - 1)}
    found = ends(guest(domain(disk=DISK + second)), sights=both, wish=COPY)
    assert cries(found)["room-missing"] == "blocker"


def test_a_place_that_kvmctl_chose_is_chosen_anew() -> None:
    assert cries(with_top(CHOSEN.format(ns=NAMESPACE))) == {}


def test_tls_needs_no_private_network() -> None:
    assert cries(ends(way=replace(WAY, addresses=("198.51.100.7",)), wish=Wish(tls=True))) == {}


def test_certificates_that_are_in_order() -> None:
    told = {each.code: each.what for each in findings(over_tls())}
    assert told["certificates"] == "the certificates of host1 and host2 are in order"
    told = {each.code: each.what for each in findings(ends(target={"credentials": None}, wish=Wish(tls=True)))}
    assert told["certificates"] == "the certificates of host1 are in order"
    # Who connects to a host that does not ask for a certificate needs none.
    assert cries(over_tls(credentials("host1", **NONE), credentials("host2", verify=False))) == {}
    last = certificate("host2", ends=NOW + 14 * DAY, purposes=frozenset({"Any Extended Key Usage"}), usages=frozenset())
    assert cries(over_tls(target=credentials("host2", certificate=File(path="/x", certificates=(last,))))) == {}


def test_certificates_matter_for_memory_over_tls_alone() -> None:
    bad = {"credentials": credentials("host1", **NONE)}
    assert cries(ends(source=bad)) == {}
    assert cries(ends(OFF, source=bad, wish=Wish(tls=True))) == {}
    assert "certificates" not in {each.code for each in findings(ends())}


def test_managed_by_the_client_needs_no_peer() -> None:
    assert cries(ends(way=replace(WAY, peer_uri=None, asked=False), wish=Wish(peer_to_peer=False))) == {}


def test_memory_of_a_vm_that_is_off_is_not_needed_now() -> None:
    assert cries(ends(OFF, target={"memory_free": 1})) == {}
    assert cries(ends(OFF, way=replace(WAY, addresses=("198.51.100.7",)))) == {}


def test_notes_that_hold_at_the_source_as_well_are_not_told() -> None:
    few = topology(cpus=1)
    assert set(cries(ends(target={"topology": few}))) == {"more-vcpus-than-cpus"}
    assert cries(ends(target={"topology": few}, source={"topology": few})) == {}


# -- what later steps go by -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disk", "sight", "sharing", "lockable", "unsafe"),
    [
        (DISK, seen(), "shared", True, True),
        (DISK.replace("</disk>", "<shareable/></disk>"), seen(), "shared", False, True),
        (DISK, local(), "separate", False, False),
        (DISK, seen(sharing="unknown"), "unknown", False, False),
        (DISK.replace("</disk>", "<readonly/></disk>"), seen(), "readonly", True, True),
        ("<disk type='file' device='cdrom'><target dev='vda'/></disk>", seen(), "empty", True, True),
        (RBD.replace("vdb", "vda"), seen(), "shared", False, True),
        (NBD.format(host="/run/nbd").replace("vdb", "vda"), seen(), "separate", False, False),
        (BLOCK.replace("vdb", "vda"), seen("/dev/sdb"), "shared", False, True),
    ],
)
def test_disks(disk: str, sight: Any, sharing: str, lockable: bool, unsafe: bool) -> None:
    found = looked(ends(guest(domain(disk=disk)), sights={PATH: sight, "/dev/sdb": sight}))
    assert found.disks == {"vda": sharing}
    assert (found.lockable, found.unsafe) == (lockable, unsafe)
    assert bool(found.no_postcopy) is not lockable


def test_pools_of_the_same_source() -> None:
    here = {"fast": Pool(type="iscsi", source="host:san device:iqn")}
    xml = domain(disk=VOLUME.format(pool="fast").replace("vdb", "vda"))
    same = ends(guest(xml), source={"pools": here}, target={"pools": here})
    assert looked(same).disks == {"vda": "shared"}
    assert not looked(same).lockable
    other = ends(guest(xml), source={"pools": here}, target={"pools": {"fast": Pool(type="iscsi", source="host:san2")}})
    assert looked(other).disks == {"vda": "unknown"}


@pytest.mark.parametrize(
    ("way", "uri"),
    [
        (WAY, None),
        (replace(WAY, configured="tcp://10.9.0.2"), "tcp://10.9.0.2"),
        (replace(WAY, loopback=True, address="10.0.0.2"), "tcp://10.0.0.2"),
        (replace(WAY, loopback=True, address="fd00::2"), "tcp://[fd00::2]"),
        (replace(WAY, loopback=True, address=""), None),
    ],
)
def test_where_memory_goes(way: Way, uri: str | None) -> None:
    assert looked(ends(way=way)).migrate_uri == uri


def test_what_is_looked_at() -> None:
    found = looked(ends(replace(guest(), autostart=True), target={"topology": topology(cpus=3)}))
    assert (found.running, found.persistent, found.autostart, found.memory) == (True, True, True, 2 * GIB)
    assert found.peer_uri == "qemu+tcp://host2/system"
    assert looked(ends(wish=Wish(peer_to_peer=False))).peer_uri is None
    assert found.cores == 3
    assert found.no_multifd == ""
    assert looked(ends(target={"libvirt": 5_001_000})).no_multifd
    assert end("host3").name == "host3"


def test_a_scsi_device_is_told_by_its_whole_address() -> None:
    [finding] = [each for each in findings(SEEDS["host-device: a SCSI disk"][1]) if each.code == "host-device"]
    assert (finding.subject, "the SCSI device 2:0:1:4 of" in finding.what) == ("2:0:1:4", True)
