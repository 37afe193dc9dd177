"""Pools, volumes and what cannot be made, on a real libvirtd; from outside, so that its files are not at our paths."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kvmctl.errors import Conflict, KvmctlError, Refused
from kvmctl.host import pools, storage
from kvmctl.host.connection import Host as Connected
from kvmctl.host.connection import connect
from kvmctl.host.targets import Target
from kvmctl.parallel import Work
from kvmctl.plan.volumes import NewVolume
from tests.lab.hosts import Host

MIB = 1 << 20
IMAGES = "/var/lib/libvirt/images"
ELSEWHERE = "/var/lib/libvirt/elsewhere"


def work() -> Work:
    return Work(30, threading.Event())


def volume(name: str = "a.qcow2", *, directory: str = IMAGES, pool: str = "default", **more: Any) -> NewVolume:
    values = {"size": 8 * MIB, "format": "qcow2", "backing": None, "backing_format": None, **more}
    return NewVolume(path=f"{directory}/{name}", pool=pool, name=name, **values)


@pytest.fixture
def host(host1: Host) -> Iterator[Connected]:
    with connect(Target("host1", host1.outside_uri)) as found:
        yield found
        for pool in found.conn.listAllStoragePools(0):
            if pool.name() != "default":
                pool.destroy()


@pytest.fixture
def elsewhere(host1: Host) -> Iterator[str]:
    """A directory that is in no pool."""
    host1.run(f"mkdir {ELSEWHERE}")
    yield ELSEWHERE
    host1.run(f"rm -r {ELSEWHERE}")


def info(host1: Host, path: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(host1.run(f"qemu-img info --output=json {path}").stdout)
    return told


def test_a_new_disk(host1: Host, host: Connected) -> None:
    storage.make(host, volume(), work())
    told = info(host1, f"{IMAGES}/a.qcow2")
    assert (told["format"], told["virtual-size"]) == ("qcow2", 8 * MIB)
    assert told["format-specific"]["data"]["compat"] == "1.1"
    assert (host1.images / "a.qcow2").stat().st_mode & 0o777 == 0o600


def test_a_raw_disk_takes_no_room(host1: Host, host: Connected) -> None:
    storage.make(host, volume("a.raw", format="raw", size=1 << 40), work())
    status = (host1.images / "a.raw").stat()
    assert (status.st_size, status.st_blocks) == (1 << 40, 0)


@pytest.mark.parametrize("place", [IMAGES, ELSEWHERE])
@pytest.mark.usefixtures("elsewhere")
def test_a_disk_on_an_image(host1: Host, host: Connected, place: str) -> None:
    # What a guest wrote into a raw image must not make it qcow2.
    host1.run(f"qemu-img create -q -f qcow2 {place}/image.raw 1G")
    host1.run(f"truncate -s 16M {place}/image.raw")
    over = {"backing": f"{place}/image.raw", "backing_format": "raw"}
    storage.make(host, volume(size=0, **over), work())
    assert info(host1, f"{IMAGES}/a.qcow2")["virtual-size"] == 16 * MIB
    storage.remove(host, f"{IMAGES}/a.qcow2")
    storage.make(host, volume(size=2 << 30, **over), work())
    told = info(host1, f"{IMAGES}/a.qcow2")
    assert (told["backing-filename"], told["backing-filename-format"]) == (f"{place}/image.raw", "raw")


def test_the_size_of_an_image_in_a_pool(host1: Host, host: Connected) -> None:
    host1.run(f"qemu-img create -q -f qcow2 {IMAGES}/image.qcow2 32M")  # libvirt has not seen it yet
    over = {"backing": f"{IMAGES}/image.qcow2", "backing_format": "qcow2"}
    storage.make(host, volume(size=0, **over), work())
    assert info(host1, f"{IMAGES}/a.qcow2")["virtual-size"] == 32 * MIB
    with pytest.raises(Refused, match="less than the image"):
        storage.make(host, volume("small.qcow2", **over), work())
    assert not (host1.images / "small.qcow2").exists()


def test_an_image_that_is_not_there(host1: Host, host: Connected) -> None:
    with pytest.raises(Refused) as caught:
        storage.make(host, volume(backing=f"{IMAGES}/none", backing_format="raw"), work())
    assert caught.value.code == "resource-missing"
    assert f"{IMAGES}/none" in caught.value.message
    assert list(host1.images.iterdir()) == []


@pytest.mark.parametrize("form", ["qcow2", "raw"])
@pytest.mark.parametrize("seen", [True, False])
def test_a_file_that_is_there_is_not_touched(host1: Host, host: Connected, form: str, seen: bool) -> None:
    (host1.images / "a.qcow2").write_text("precious")
    new = volume(format=form)
    if seen:
        assert storage.exists(host, new) is True
    with pytest.raises(Conflict) as caught:
        storage.make(host, new, work())
    assert caught.value.code == "disk-exists"
    assert (host1.images / "a.qcow2").read_text() == "precious"


def test_a_full_disk_leaves_nothing(host1: Host, host: Connected) -> None:
    small = "/var/lib/libvirt/small"
    host1.run(f"mkdir -p {small}")
    host1.run(f"mount -t tmpfs -o size=200k none {small}")
    try:
        host1.run(["sh", "-c", f"head -c 190k /dev/zero > {small}/fill"])
        host.conn.storagePoolCreateXML(
            f"<pool type='dir'><name>small</name><target><path>{small}</path></target></pool>", 0
        )
        with pytest.raises(Refused) as caught:
            storage.make(host, volume(directory=small, pool="small"), work())
        assert (caught.value.code, caught.value.exit_code) == ("no-space", 5)
        assert host1.run(f"ls -A {small}").stdout.split() == ["fill"]
        assert storage.free_bytes(storage.pool(host, "small")) < 16384
    finally:
        host.conn.storagePoolLookupByName("small").destroy()
        host1.run(f"umount {small}")


def test_remove(host1: Host, host: Connected, elsewhere: str) -> None:
    storage.make(host, volume(), work())
    assert storage.remove(host, f"{IMAGES}/a.qcow2", "default") is True
    assert storage.remove(host, f"{IMAGES}/a.qcow2", "default") is False
    (host1.images / "unseen").write_text("")
    assert storage.remove(host, f"{IMAGES}/unseen") is True
    host1.run(f"touch {elsewhere}/disk {elsewhere}/other")
    assert storage.remove(host, f"{elsewhere}/disk") is True
    assert storage.remove(host, f"{elsewhere}/disk") is False
    assert storage.remove(host, "/var/lib/libvirt/no/such/directory/disk") is False
    assert host1.run(f"ls {elsewhere}").stdout.split() == ["other"]
    assert [pool.name() for pool in host.conn.listAllStoragePools(0)] == ["default"]


def test_a_directory_is_not_removed(host1: Host, host: Connected) -> None:
    (host1.images / "directory").mkdir()
    (host1.images / "directory/file").write_text("")
    with pytest.raises(KvmctlError):
        storage.remove(host, f"{IMAGES}/directory")
    assert (host1.images / "directory/file").exists()


def test_backing_users(host1: Host, host: Connected, elsewhere: str) -> None:
    host1.run(f"qemu-img create -q -f qcow2 {IMAGES}/base 8M")
    host1.run(["sh", "-c", f"cd {IMAGES} && qemu-img create -q -f qcow2 -b ../images/base -F qcow2 relative"])
    host1.run(f"qemu-img create -q -f qcow2 -b {IMAGES}/base -F qcow2 {elsewhere}/far")
    described = '{"driver":"qcow2","file":{"driver":"file","filename":"' + IMAGES + '/base"}}'
    host1.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", f"json:{described}", "-F", "qcow2", f"{IMAGES}/json"])
    near = {f"{IMAGES}/relative", f"{IMAGES}/json"}
    assert storage.backing_users(host) == {f"{IMAGES}/base": near}
    assert storage.backing_users(host, [elsewhere, "/not/there"])[f"{IMAGES}/base"] == {*near, f"{elsewhere}/far"}


def test_the_default_pool_is_made_where_it_is_missing(host1: Host, host: Connected) -> None:
    old = host.conn.storagePoolLookupByName("default")
    xml, autostart = old.XMLDesc(0), old.autostart()
    old.destroy()
    old.undefine()
    try:
        made, fresh = storage.default_pool(host)
        assert (made.path, made.active, fresh) == (IMAGES, True, True)
        storage.make(host, volume(), work())
        assert (host1.images / "a.qcow2").exists()
    finally:
        new = host.conn.storagePoolLookupByName("default")
        new.destroy()
        new.undefine()
        host.conn.storagePoolDefineXML(xml, 0).setAutostart(autostart)
        storage.pool(host, "default")


def test_two_that_look_into_one_directory(host: Connected, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for the other, and what a killed one left is used and taken away."""
    place = f"<target><path>{elsewhere}</path></target>"
    left = host.conn.storagePoolCreateXML(f"<pool type='dir'><name>{pools.PASSING}1</name>{place}</pool>", 0)
    threading.Timer(0.5, left.destroy).start()
    with pools.reached(host, elsewhere) as found:
        assert found is not None
        assert found.name() not in ("default", f"{pools.PASSING}1")
    host.conn.storagePoolCreateXML(f"<pool type='dir'><name>{pools.PASSING}2</name>{place}</pool>", 0)
    monkeypatch.setattr(pools, "OTHERS_SECONDS", 0.3)
    with pools.reached(host, elsewhere) as found:
        assert found is not None
        assert found.name() == f"{pools.PASSING}2"
    assert [pool.name() for pool in host.conn.listAllStoragePools(0)] == ["default"]
