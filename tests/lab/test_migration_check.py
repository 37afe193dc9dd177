"""What is looked at before a move, on two real hosts: obstacles seeded one by one, and a VM that has none.

Of all codes those that can be had here; every one is seeded in tests/plan/migration/test_check.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.lab.hosts import Host
from tests.lab.waiting import until

LOOK = """\
import json, sys, threading
from kvmctl.host.connection import connect
from kvmctl.host.migration.look import look
from kvmctl.host.targets import Target
from kvmctl.parallel import Work
from kvmctl.plan.migration.wish import Wish
name, there, wish, migrate_uri = json.loads(sys.argv[1])
target = Target("host2", there, migrate_uri=migrate_uri)
with connect(Target("host1", "qemu:///system"), events=True) as one, connect(target, events=True) as two:
    found = look(one, two, name, Wish(**wish), work=Work(60, threading.Event()))
told = {key: value for key, value in vars(found).items() if key != "findings"}
print(json.dumps({**told, "findings": [each.as_dict() for each in found.findings]}))
"""

DOMAIN = """\
<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory>{top}
<os><type arch='x86_64' machine='pc'>hvm</type>{os}</os>
<devices><emulator>{emulator}</emulator>{devices}</devices></domain>"""
QEMU = "/usr/bin/qemu-system-x86_64"
IMAGES = "/var/lib/libvirt/images"

Look = Callable[..., dict[str, Any]]
Make = Callable[..., libvirt.virDomain]


def disk(path: Path | str, *, target: str = "vda", device: str = "disk", bus: str = "virtio", kind: str = "raw") -> str:
    bus = {"cdrom": "sata"}.get(device, bus)
    return f"""<disk type='file' device='{device}'><driver name='qemu' type='{kind}'/><source file='{path}'/>
    <target dev='{target}' bus='{bus}'/></disk>"""


NETWORK = "<interface type='network'><source network='{}'/></interface>"
PCI = """<hostdev mode='subsystem' type='pci' managed='yes'>
<source><address domain='0' bus='0x3b' slot='0' function='0'/></source></hostdev>"""
MDEV = """<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
<source><address uuid='6b766d63-746c-4000-8000-00000000000b'/></source></hostdev>"""
USB = """<hostdev mode='subsystem' type='usb'>
<source><vendor id='0x1d6b'/><product id='0x0002'/></source></hostdev>"""
RBD = """<disk type='network' device='disk'><driver name='qemu' type='raw'/><auth username='a'>
<secret type='ceph' uuid='6b766d63-746c-4000-8000-00000000000c'/></auth>
<source protocol='rbd' name='p/i'><host name='mon1'/></source><target dev='vdb' bus='virtio'/></disk>"""
BLOCK = "<disk type='block' device='disk'><source dev='/dev/sdzz'/><target dev='vdb' bus='virtio'/></disk>"
VOLUME = """<disk type='volume' device='disk'><source pool='fast' volume='x'/>
<target dev='vdb' bus='virtio'/></disk>"""

BACKUP = """<domainbackup mode='pull'><server transport='unix' socket='{place}/nbd'/>
<disks><disk name='vda' type='file'><scratch file='{place}/scratch'/></disk></disks></domainbackup>"""
DRIVE = "<disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sda' bus='sata'/></disk>"

OFF = {
    "host-device": {"devices": PCI},
    "mediated-device": {"devices": MDEV},
    "usb-device": {"devices": USB},
    "tpm-passthrough": {
        "devices": "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"
    },
    "host-line": {"devices": "<serial type='dev'><source path='/dev/ttyS0'/></serial>"},
    "network-missing": {"devices": NETWORK.format("lan")},
    "bridge-missing": {"devices": "<interface type='bridge'><source bridge='br7'/></interface>"},
    "interface-missing": {"devices": "<interface type='direct'><source dev='eth7'/></interface>"},
    "secret-missing": {"devices": RBD},
    "disk-sharing-unknown": {"devices": BLOCK},
    "pool-missing": {"devices": VOLUME},
    "cdrom-local": {
        "devices": "<disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sda' bus='sata'/></disk>"
    },
    "cpu-incompatible": {"top": "<cpu mode='custom' match='exact'><model>Icelake-Server</model></cpu>"},
    "no-such-cpu": {"top": "<cputune><vcpupin vcpu='0' cpuset='40'/></cputune>"},
    "no-such-node": {"top": "<numatune><memory mode='strict' nodeset='7'/></numatune>"},
    "hugepages-missing": {
        "top": "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>"
    },
    "security-model": {"top": "<seclabel type='static' model='selinux'><label>a:b:c:d</label></seclabel>"},
}
"""What a definition alone can bring."""

RUNNING = {
    "shared-memory": ("blocker", "<shmem name='s'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>", ""),
    "shared-folder": (
        "warning",
        "<filesystem type='mount'><source dir='/tmp'/><target dir='data'/></filesystem>",
        "",
    ),
    "listen-address": (
        "warning",
        "<graphics type='vnc' port='-1' autoport='yes'><listen type='address' address='10.77.0.1'/></graphics>",
        "",
    ),
    "postcopy-impossible": ("note", "", "<memoryBacking><source type='file'/></memoryBacking>"),
}


@pytest.fixture
def make(host1: Host) -> Make:
    """`make("web1", devices="…")` defines a VM on a host, host1 if none is given, and starts it."""

    def create(name: str = "web1", *, host: Host = host1, start: bool = True, **parts: str) -> libvirt.virDomain:
        text = DOMAIN.format(name=name, **{"top": "", "os": "", "devices": "", "emulator": QEMU, **parts})
        connection = libvirt.open(host.outside_uri)
        domain = connection.defineXML(text)
        if start:
            domain.create()
        return domain

    return create


@pytest.fixture
def look(host1: Host, host2: Host) -> Look:
    """`look("web1", copy_disks=True)`: what is found, as data."""

    def ask(name: str = "web1", *, there: str = host2.uri, migrate_uri: str = "", **wish: Any) -> dict[str, Any]:
        given = json.dumps([name, there, wish, migrate_uri])
        found: dict[str, Any] = json.loads(host1.run([sys.executable, "-c", LOOK, given]).stdout)
        return found

    return ask


def cries(found: dict[str, Any]) -> dict[str, str]:
    """Code and verdict of all that is not ok."""
    return {each["code"]: each["verdict"] for each in found["findings"] if each["verdict"] != "ok"}


def image(path: Path, size: str = "4M", *, backing: Path | None = None) -> Path:
    below = ["-F", "qcow2", "-b", str(backing)] if backing else []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, str(path), size], check=True)
    return path


def left(*hosts: Host) -> list[str]:
    """Pools that somebody left on the hosts."""
    found = []
    for host in hosts:
        connection = libvirt.open(host.outside_uri)
        found += [pool.name() for pool in connection.listAllStoragePools() if pool.name() != "default"]
        connection.close()
    return found


# -- nothing is cried in vain -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [True, False], ids=["running", "off"])
def test_a_healthy_vm(start: bool, make: Make, look: Look, tmp_path: Path, host1: Host, host2: Host) -> None:
    base = image(tmp_path / "base.qcow2")
    top = image(tmp_path / "top.qcow2", backing=base)
    (tmp_path / "cd.iso").write_bytes(bytes(2048))
    cd = disk(tmp_path / "cd.iso", target="sda", device="cdrom").replace("</disk>", "<readonly/></disk>")
    log = f"<serial type='pty'><log file='{tmp_path}/web1.log'/></serial>"
    more = NETWORK.format("default") + "<graphics type='vnc' autoport='yes'/>" + log
    make(devices=disk(top, kind="qcow2") + cd + more, start=start)
    before = sorted(path.name for path in tmp_path.iterdir())
    found = look()
    assert cries(found) == {}
    assert found["disks"] == {"vda": "shared", "sda": "readonly"}
    assert (found["running"], found["persistent"], found["autostart"]) == (start, True, False)
    assert found["peer_uri"] == host2.uri
    assert found["migrate_uri"] is None
    assert (found["lockable"], found["unsafe"], found["no_postcopy"]) == (True, True, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert left(host1, host2) == []


def test_a_guest_by_kvmctl(host1: Host, host2: Host, guest_spec: Callable[..., Path], look: Look) -> None:
    host1.kvmctl(f"create {guest_spec('web1', 'networks: [default]')} --start")
    assert cries(look()) == {}
    assert cries(look(there=host2.ssh_uri)) == {}


def test_by_the_command(make: Make, host1: Host, host2: Host) -> None:
    make()
    found = host1.kvmctl("migrate web1 host2 --check -o json").json
    assert {each["verdict"] for each in found["findings"]} == {"ok"}
    make("web1", host=host2, start=False)
    found = host1.kvmctl("migrate web1 host2 --check -o json", exit=5).json
    assert cries(found) == {"name-taken": "blocker"}
    said = host1.kvmctl("migrate web1 host2 -o json", exit=5).stdout.splitlines()
    error = json.loads(said[-1])["error"]
    assert [reason["code"] for reason in error["reasons"]] == ["name-taken"]
    assert host1.run("virsh domstate web1").stdout.strip() == "running"


def test_a_host_that_is_gone(make: Make, host1: Host, host2: Host) -> None:
    make()
    host2.stop_libvirtd()
    assert host1.kvmctl("migrate web1 host2 --check -o json", exit=7).json["error"]["code"] == "host-unreachable"


# -- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", OFF)
def test_in_a_definition(code: str, make: Make, look: Look) -> None:
    make(start=False, **OFF[code])
    assert cries(look()) == {code: "blocker"}


@pytest.mark.parametrize("code", RUNNING)
def test_in_a_running_vm(code: str, make: Make, look: Look) -> None:
    verdict, devices, top = RUNNING[code]
    make(devices=devices, top=top)
    assert cries(look()) == {code: verdict}


def test_what_firmware_and_tpm_of_a_stopped_vm_remember(make: Make, look: Look, host1: Host) -> None:
    domain = make(
        start=False,
        top="<features><acpi/></features>",
        os="<loader readonly='yes' type='pflash'>/bin/true</loader><nvram>/var/lib/libvirt/qemu/nvram/web1.fd</nvram>",
        devices="<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>",
    )
    assert cries(look()) == {}  # never started
    for name in ("qemu/nvram/web1.fd", f"swtpm/{domain.UUIDString()}/tpm2/tpm2-00.permall"):
        path = host1.directory / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(4096))
    found = look()
    assert cries(found) == {"state-left-behind": "blocker"}
    assert len([each for each in found["findings"] if each["code"] == "state-left-behind"]) == 2
    assert left(host1) == []


def test_the_same_host(make: Make, look: Look, host1: Host) -> None:
    make()
    assert cries(look(there=host1.uri)) == {"same-host": "blocker"}


def test_the_source_cannot_reach_the_target(make: Make, look: Look, host1: Host, host2: Host) -> None:
    """We reach it by a socket; the source would have to by ssh, with a host key that it does not know."""
    make()
    known = host1.home / ".ssh/known_hosts"
    assert look(there=host2.outside_uri)["peer_uri"] == host2.ssh_uri
    known.rename(known.with_suffix(".away"))
    try:
        assert cries(look(there=host2.outside_uri)) == {"peer-unreachable": "note"}
        assert cries(look(there=host2.outside_uri, peer_to_peer=True)) == {"peer-unreachable": "blocker"}
        assert cries(look(there=host2.outside_uri, peer_to_peer=False)) == {}
    finally:
        known.with_suffix(".away").rename(known)


def test_the_source_hears_nothing(make: Make, look: Look, host2: Host) -> None:
    """Whoever would answer the source is there and says nothing: it is not waited for."""
    domain = make()
    [sshd] = [pid for pid, _, arguments in host2.processes() if "[listener]" in " ".join(arguments)]
    os.kill(sshd, signal.SIGSTOP)
    try:
        assert cries(look(there=host2.outside_uri)) == {"peer-silent": "blocker"}
    finally:
        os.kill(sshd, signal.SIGCONT)
    until(lambda: domain.jobInfo()[0] == 0, "the source gives up")
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING


@pytest.mark.parametrize("name", ["localhost", "nowhere"])
def test_a_name_that_leads_elsewhere(name: str, make: Make, look: Look, host2: Host) -> None:
    make()
    host2.run(["hostname", name])
    try:
        found = look()
    finally:
        host2.run("hostname host2")
    assert cries(found) == {"target-name": "note"}
    assert found["migrate_uri"] == f"tcp://{host2.address}"


def test_a_foreign_network(make: Make, look: Look) -> None:
    make()
    foreign = "tcp://198.51.100.7"
    assert cries(look(migrate_uri=foreign)) == {"plain-text": "blocker", "ports-closed": "blocker"}
    assert cries(look(migrate_uri=foreign, insecure=True)) == {"plain-text": "warning", "ports-closed": "blocker"}
    found = cries(look(migrate_uri=foreign, tls=True))
    assert found == {"ports-closed": "blocker", "certificate-missing": "blocker", "certificates-unseen": "note"}


def test_what_is_taken(make: Make, look: Look, host2: Host) -> None:
    screen = "<graphics type='vnc' port='5999' autoport='no'/>"
    domain = make(devices=screen)
    make("other", host=host2, devices=screen)
    assert cries(look()) == {"port-taken": "blocker"}
    twin = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).replace("<name>web1<", "<name>web2<")
    libvirt.open(host2.outside_uri).defineXML(twin)
    assert cries(look()) == {"port-taken": "blocker", "uuid-taken": "blocker"}


def test_what_is_saved_or_kept(make: Make, look: Look, tmp_path: Path) -> None:
    domain = make(devices=disk(image(tmp_path / "a.qcow2"), kind="qcow2"))
    domain.snapshotCreateXML("<domainsnapshot><name>one</name></domainsnapshot>")
    assert cries(look()) == {"snapshots": "blocker"}
    domain.snapshotLookupByName("one").delete()
    domain.checkpointCreateXML("<domaincheckpoint><name>one</name></domaincheckpoint>")
    assert cries(look()) == {"checkpoints": "blocker"}
    domain.checkpointLookupByName("one").delete()
    domain.managedSave()
    assert cries(look()) == {"memory-saved": "blocker"}


def test_a_job(make: Make, look: Look, tmp_path: Path) -> None:
    domain = make(devices=disk(image(tmp_path / "a.qcow2"), kind="qcow2"))
    domain.blockCopy(
        "vda", f"<disk type='file'><source file='{tmp_path}/b.qcow2'/><driver type='qcow2'/></disk>", {}, 4
    )
    assert "block-job" in cries(look())
    domain.blockJobAbort("vda")
    domain.backupBegin(BACKUP.format(place=tmp_path), None)
    assert cries(look()) == {"job-running": "blocker"}
    domain.abortJob()


def test_software_that_only_one_host_has(make: Make, look: Look, host1: Host) -> None:
    own = host1.directory / "lib"
    (own / "qemu-own").symlink_to(QEMU)
    make("emulator", emulator="/var/lib/libvirt/qemu-own", start=False)
    assert cries(look("emulator")) == {"emulator-missing": "blocker"}
    for name in ("images/vmlinuz", "images/code.fd"):
        (own / name).write_bytes(bytes(4096))
    make("kernel", os=f"<kernel>{IMAGES}/vmlinuz</kernel>", start=False)
    assert cries(look("kernel")) == {"kernel-missing": "blocker"}
    make("firmware", os=f"<loader readonly='yes' type='rom'>{IMAGES}/code.fd</loader>", start=False)
    assert cries(look("firmware")) == {"firmware-missing": "blocker"}


def test_a_network_that_sleeps(make: Make, look: Look, host2: Host) -> None:
    make(devices=NETWORK.format("default"))
    host2.run("virsh net-destroy default")
    assert cries(look()) == {"network-inactive": "blocker"}
    assert cries(look(maps={"network:default": "lan"})) == {"network-missing": "blocker"}


# -- storage ----------------------------------------------------------------------------------------------------------


def test_disks_that_only_one_host_has(make: Make, look: Look, host1: Host, host2: Host, tmp_path: Path) -> None:
    image(host1.images / "a.qcow2")
    make(devices=disk(f"{IMAGES}/a.qcow2", kind="qcow2"))
    found = look()
    assert cries(found) == {"disk-not-shared": "blocker", "postcopy-impossible": "note"}
    assert (found["disks"], found["lockable"], found["unsafe"]) == ({"vda": "separate"}, False, False)
    assert cries(look(copy_disks=True)) == {"postcopy-impossible": "note"}
    (host2.images / "a.qcow2").write_bytes(b"another")
    assert look()["disks"] == {"vda": "separate"}
    assert "disk-exists" in cries(look(copy_disks=True))
    assert "path-missing" in cries(look(copy_disks=True, maps={IMAGES: str(tmp_path / "none")}))
    assert cries(look(copy_disks=True, maps={IMAGES: str(tmp_path)})) == {"postcopy-impossible": "note"}
    assert sorted(path.name for path in host1.images.iterdir()) == ["a.qcow2"]
    assert sorted(path.name for path in host2.images.iterdir()) == ["a.qcow2"]
    assert left(host1, host2) == []


def test_below_and_beside_a_disk(make: Make, look: Look, host1: Host, tmp_path: Path) -> None:
    """The top layer is shared; the image below it, and a CD, are not there."""
    for name in ("base.qcow2", "cd.iso"):
        image(host1.images / name)
    top = tmp_path / "top.qcow2"
    host1.run(f"qemu-img create -q -f qcow2 -F qcow2 -b {IMAGES}/base.qcow2 {top}")
    cd = disk(f"{IMAGES}/cd.iso", target="sda", device="cdrom").replace("</disk>", "<readonly/></disk>")
    make(devices=disk(top, kind="qcow2") + cd, start=False)
    assert cries(look()) == {"backing-missing": "blocker", "cdrom-local": "blocker"}


def test_room_for_copies(make: Make, look: Look, host1: Host, host2: Host, tmp_path: Path) -> None:
    (host1.images / "a.img").write_bytes(os.urandom(4 << 20))
    make(devices=disk(f"{IMAGES}/a.img"))
    small = host2.images / "small"
    small.mkdir()
    host2.run(f"mount -t tmpfs -o size=1m none {IMAGES}/small")
    try:
        found = look(copy_disks=True, maps={IMAGES: f"{IMAGES}/small"})
    finally:
        host2.run(f"umount {IMAGES}/small")
    assert cries(found) == {"room-missing": "blocker", "postcopy-impossible": "note"}


def test_where_nothing_can_be_written(make: Make, look: Look, host1: Host, host2: Host, tmp_path: Path) -> None:
    """Sizes and times must do then, and what they do not show is not known."""
    place = tmp_path / "vm"
    place.mkdir()
    file = place / "a.img"
    file.write_bytes(bytes(1 << 20))
    make(devices=disk(file), start=False)
    for host in (host1, host2):
        host.run(f"mount --bind {place} {place}")
        host.run(f"mount -o remount,ro,bind {place}")
    try:
        found = look()
        assert cries(found) == {}
        assert found["disks"] == {"vda": "shared"}
        host2.run(f"umount {place}")
        host2.run(f"mount -t tmpfs none {place}")
        host2.run(f"truncate -s 1M {file}")
        host2.run(f"mount -o remount,ro {place}")
        assert cries(look()) == {"disk-sharing-unknown": "blocker"}
        assert cries(look(unsafe=True)) == {"disk-sharing-unknown": "warning"}
    finally:
        for host in (host1, host2):
            host.run(f"umount {place}")


def test_a_cache_that_loses(make: Make, look: Look, tmp_path: Path) -> None:
    path = image(tmp_path / "a.qcow2")
    make(devices=disk(path, kind="qcow2").replace("type='qcow2'/>", "type='qcow2' cache='unsafe'/>"))
    assert cries(look()) == {"cache-unsafe": "blocker"}
