"""Encrypted disks copied between real hosts whose passphrases differ, and what stands in the way of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest

from tests.lab.guest import UP
from tests.lab.hosts import Host
from tests.lab.waiting import until, until_said

MIB = 1 << 20
SECTOR = 512
IMAGES = "/var/lib/libvirt/images"
SECRET = "6b766d63-746c-4000-8000-0000000000aa"
PASSPHRASES = ("opens here alone", "opens there alone")
SIZE = 8 * MIB
DD = "dd of=/dev/vda bs=512 seek=$i conv=notrunc,fsync"
COUNT = f"i=0; while true; do i=$((i+1)); printf %-512s $i | {DD}; sleep 0.1; done"
"""What the guest does: its number in each sector, one after the other, so slowly that the disk lasts."""
ENOUGH = 20 * 4096
"""Bytes of so many writes; the guest writes whole pages."""


@pytest.fixture
def ends(host1: Host, host2: Host) -> Iterator[tuple[libvirt.virConnect, libvirt.virConnect]]:
    """With a secret of the same UUID; that of host2 has no value yet."""
    here, there = libvirt.open(host1.outside_uri), libvirt.open(host2.outside_uri)
    for connection in (here, there):
        connection.secretDefineXML(
            f"""<secret ephemeral='no' private='yes'><uuid>{SECRET}</uuid>
            <usage type='volume'><volume>{IMAGES}/a</volume></usage></secret>"""
        )
    here.secretLookupByUUIDString(SECRET).setValue(PASSPHRASES[0].encode())
    yield here, there
    here.close()
    there.close()


def tool(host: Host, passphrase: str, command: str, *arguments: str) -> str:
    """qemu-img or qemu-io with the passphrase as its secret `s`."""
    file = host.directory / "passphrase"
    file.write_text(passphrase)
    for _ in range(20):
        done = host.run([*command.split(), "--object", f"secret,id=s,file={file}", *arguments], check=False)
        if "accurate CPU usage" not in done.stderr:  # how fast the host is cannot be measured while it is busy
            break
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(host: Host, name: str, options: str, *more: str) -> None:
    form = "luks" if name.endswith(".raw") else "qcow2"
    arguments = ["-q", "-f", form, "-o", options, *more, f"{IMAGES}/{name}", str(SIZE)]
    tool(host, PASSPHRASES[0], "qemu-img create", *arguments)


def opened(name: str) -> str:
    """For --image-opts."""
    place = f"file.driver=file,file.filename={IMAGES}/{name}"
    return (
        f"driver=luks,key-secret=s,{place}" if name.endswith(".raw") else f"driver=qcow2,encrypt.key-secret=s,{place}"
    )


def content(host: Host, passphrase: str, name: str) -> bytes:
    """What the guest sees."""
    plain = host.directory / "plain"
    tool(host, passphrase, "qemu-img convert", "--image-opts", opened(name), "-O", "raw", str(plain))
    try:
        return plain.read_bytes()
    finally:
        plain.unlink()


def counted(disk: bytes) -> int:
    """How far it has come, of what is there without a gap."""
    number = 1
    while disk[number * SECTOR : (number + 1) * SECTOR].strip() == str(number).encode():
        number += 1
    return number - 1


def disk(target: str, name: str) -> str:
    form = "raw" if name.endswith(".raw") else "qcow2"
    return f"""<disk type='file' device='disk'><driver name='qemu' type='{form}'/><source file='{IMAGES}/{name}'>
        <encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption></source>
        <target dev='{target}' bus='virtio'/></disk>"""


def codes(host: Host, command: str, exit: int) -> dict[str, str]:
    told = json.loads(host.kvmctl(f"{command} -o json", exit=exit).stdout)
    return {each["code"]: each["verdict"] for each in told["findings"]}


@pytest.mark.timeout(300)
def test_a_guest_that_counts_on_an_encrypted_disk(
    ends: tuple[libvirt.virConnect, libvirt.virConnect],
    host1: Host,
    host2: Host,
    guest_spec: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Raw, and qcow2 on top of an image that both have. Without a passphrase there, nothing moves."""
    make(host1, "a.raw", "key-secret=s,iter-time=10")
    for host in (host1, host2):
        host.run(f"qemu-img create -q -f qcow2 {IMAGES}/base.qcow2 {SIZE}")
        host.run(["qemu-io", "-c", "write -P 7 1M 1M", f"{IMAGES}/base.qcow2"])
    based = ("-b", f"{IMAGES}/base.qcow2", "-F", "qcow2")
    make(host1, "b.qcow2", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", *based)
    tool(host1, PASSPHRASES[0], "qemu-io", "-c", "write -P 9 5M 1M", "--image-opts", opened("b.qcow2"))
    host1.kvmctl(f"create {guest_spec('web1')}")
    domain = ends[0].lookupByName("web1")
    for each in (disk("vda", "a.raw"), disk("vdb", "b.qcow2")):
        domain.attachDeviceFlags(each, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    domain.create()
    until_said(tmp_path / "web1.log", UP)
    console = ends[0].newStream(0)
    domain.openConsole(None, console, 0)
    console.send(b"\n")
    until_said(tmp_path / "web1.log", "#")
    console.send(f"({COUNT}) 2>/dev/null &\n".encode())
    until(lambda: domain.blockStats("vda")[3] > ENOUGH, "a guest that counts")
    console.abort()

    assert codes(host1, "migrate web1 host2 --copy-disks --insecure --check", 5)["secret-unset"] == "blocker"
    refused = host1.kvmctl("migrate web1 host2 --copy-disks --insecure", exit=5)
    assert f"virsh secret-set-value {SECRET} --interactive" in refused.stderr
    assert [file.name for file in host2.images.iterdir()] == ["base.qcow2"]

    ends[1].secretLookupByUUIDString(SECRET).setValue(PASSPHRASES[1].encode())
    found = codes(host1, "migrate web1 host2 --copy-disks --insecure --check", 0)
    assert {found[code] for code in ("disk-plain-text", "disk-not-sparse")} == {"warning", "note"}
    done = host1.kvmctl("migrate web1 host2 --copy-disks --insecure", timeout=200)
    left = counted(content(host1, PASSPHRASES[0], "a.raw"))
    arrived = ends[1].lookupByName("web1")
    written = arrived.blockStats("vda")[3]
    until(lambda: arrived.blockStats("vda")[3] > written + ENOUGH, "a guest that counts on")
    arrived.destroy()
    assert counted(content(host2, PASSPHRASES[1], "a.raw")) > left >= 20
    based_there = content(host2, PASSPHRASES[1], "b.qcow2")
    assert based_there == content(host1, PASSPHRASES[0], "b.qcow2")
    assert (based_there[MIB], based_there[5 * MIB]) == (7, 9)
    assert (host2.images / "b.qcow2").stat().st_blocks * SECTOR < SIZE  # sparse still
    said = done.stdout + done.stderr + refused.stderr
    for host in (host1, host2):
        said += (host.directory / "log/libvirtd.log").read_text(errors="replace")
        assert list((host.directory / "run/libvirt/storage").glob("*.secret.*")) == []
    assert not [passphrase for passphrase in PASSPHRASES if passphrase in said]


@pytest.mark.timeout(300)
def test_a_stopped_vm_keeps_its_passphrase(
    ends: tuple[libvirt.virConnect, libvirt.virConnect], host1: Host, host2: Host
) -> None:
    ends[1].secretLookupByUUIDString(SECRET).setValue(PASSPHRASES[0].encode())
    make(host1, "a.raw", "key-secret=s,iter-time=10")
    make(host1, "b.qcow2", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
    for name in ("a.raw", "b.qcow2"):
        tool(host1, PASSPHRASES[0], "qemu-io", "-c", "write -P 9 5M 1M", "--image-opts", opened(name))
    ends[0].defineXML(
        f"""<domain type='qemu'><name>web1</name><memory unit='MiB'>32</memory><os><type machine='pc'>hvm</type></os>
        <devices>{disk("vda", "a.raw")}{disk("vdb", "b.qcow2")}</devices></domain>"""
    )
    assert codes(host1, "migrate web1 host2 --copy-disks --check", 0)["passphrase-kept"] == "warning"
    host1.kvmctl("migrate web1 host2 --copy-disks", timeout=200)
    for name in ("a.raw", "b.qcow2"):
        host2.run(f"cmp {host1.images}/{name} {IMAGES}/{name}")
        assert (host2.images / name).stat().st_blocks * SECTOR < SIZE
    host2.kvmctl("start web1", timeout=100)
    assert ends[1].lookupByName("web1").isActive()
