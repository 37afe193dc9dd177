"""Pools and volumes by libvirt's test driver, and the embedded host's files. Real pools are in tests/lab."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from kvmctl.errors import Conflict, KvmctlError, NotFound, Refused
from kvmctl.host import pools, storage
from kvmctl.host.connection import Host, connect
from kvmctl.host.library import libvirt
from kvmctl.host.targets import Target
from kvmctl.parallel import Work
from kvmctl.plan.volumes import Encryption, NewVolume

MIB = 1 << 20


def work() -> Work:
    return Work(30, threading.Event())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A test host of our own, since test:///default is shared within a process."""
    (tmp_path / "node.xml").write_text(
        "<node><pool type='dir'><name>fast</name><target><path>/fast</path></target></pool></node>"
    )
    with connect(Target("test", f"test://{tmp_path}/node.xml")) as found:
        yield found


def embedded(root: Path) -> Any:
    return SimpleNamespace(
        embedded=True, name="embedded", target=Target("embedded", f"qemu:///embed?root={root}"), conn=None
    )


def volume(pool: str | None = "fast", name: str = "a.qcow2", **more: Any) -> NewVolume:
    values = {"size": MIB, "format": "qcow2", "backing": None, "backing_format": None, "path": f"/fast/{name}", **more}
    return NewVolume(pool=pool, name=name, **values)


# -- pools ---------------------------------------------------------------------------------------------


def test_the_default_pool_is_made_once(host: Host) -> None:
    made, fresh = storage.default_pool(host)
    assert (made.name, made.type, made.path, made.active, fresh) == (
        "default", "dir", "/var/lib/libvirt/images", True, True,
    )  # fmt: skip
    found = host.conn.storagePoolLookupByName("default")
    assert (found.isPersistent(), found.autostart()) == (1, 1)
    assert storage.default_pool(host) == (made, False)
    found.destroy()
    assert storage.default_pool(host) == (made, False)
    assert found.isActive()


def test_another_pool_over_the_same_directory_serves_as_the_default(host: Host) -> None:
    host.conn.storagePoolCreateXML(
        "<pool type='dir'><name>images</name><target><path>/var/lib/libvirt/images</path></target></pool>", 0
    )
    found, fresh = storage.default_pool(host)
    assert (found.name, fresh) == ("images", False)
    assert storage.pool(host, "default").name() == "images"


def test_a_pool_that_is_not_there(host: Host) -> None:
    with pytest.raises(NotFound) as caught:
        storage.pool(host, "slow")
    assert caught.value.code == "pool-not-found"
    assert caught.value.message == "test has no storage pool 'slow'; it has fast"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("qemu:///session", "/data/libvirt/images"),
        ("qemu:///system", "/var/lib/libvirt/images"),
        ("qemu+ssh://you@there/system", "/var/lib/libvirt/images"),
        ("qemu+ssh://you@there/session", None),
    ],
)
def test_where_the_default_pool_is(uri: str, path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    made: list[str] = []

    def define(xml: str, flags: int) -> Any:
        made.append(ElementTree.fromstring(xml).findtext("target/path") or "")
        raise libvirt.libvirtError("as far as this test goes")

    conn = SimpleNamespace(getURI=lambda: uri, listAllStoragePools=lambda flags: [], storagePoolDefineXML=define)
    host: Any = SimpleNamespace(conn=conn, name="there")
    with pytest.raises(Refused if path is None else Exception):
        storage.default_pool(host)
    assert made == ([path] if path else [])


def test_a_directory_in_no_pool_is_reached_for_a_moment(host: Host) -> None:
    with pools.reached(host, "/elsewhere/") as found:
        assert found is not None
        assert pools.described(found).path == "/elsewhere"
        assert found.isPersistent() == 0 or host.conn.getType() == "TEST"
    assert [pool.name() for pool in host.conn.listAllStoragePools(0) if pool.isActive()] == ["fast"]


def test_a_pool_that_is_there_is_used_and_left_as_it_was(host: Host) -> None:
    fast = host.conn.storagePoolLookupByName("fast")
    with pools.reached(host, "/fast") as found:
        assert found is not None
        assert found.name() == "fast"
    assert fast.isActive()
    fast.destroy()
    with pools.reached(host, "/fast") as found:
        assert fast.isActive()
    assert not fast.isActive()


# -- volumes -------------------------------------------------------------------------------------------


def test_make_exists_remove(host: Host) -> None:
    new = volume()
    assert storage.exists(host, new) is False
    storage.make(host, new, work())
    assert storage.exists(host, new) is True
    made = host.conn.storageVolLookupByPath("/fast/a.qcow2")
    assert made.info()[1:] == [MIB, 0]
    assert storage.remove(host, new.path, "fast") is True
    assert storage.exists(host, new) is False
    assert storage.remove(host, new.path, "fast") is False


@pytest.mark.parametrize("pool", [None, "fast", "gone"])
def test_remove_finds_a_volume_by_its_path_whatever_the_pool_is_called(host: Host, pool: str | None) -> None:
    storage.make(host, volume(), work())
    assert storage.remove(host, "/fast/a.qcow2", pool) is True
    assert storage.remove(host, "/fast/a.qcow2", pool) is False


def test_remove_does_not_take_a_volume_of_that_name_elsewhere(host: Host) -> None:
    storage.make(host, volume(), work())
    assert storage.remove(host, "/elsewhere/a.qcow2", "fast") is False
    assert storage.exists(host, volume())


def test_what_is_there_is_not_made_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.make(host, volume(size=MIB), work())
    with pytest.raises(Conflict) as caught:
        storage.make(host, volume(size=2 * MIB), work())
    assert caught.value.code == "disk-exists"
    assert host.conn.storageVolLookupByPath("/fast/a.qcow2").info()[1] == MIB


def test_the_size_of_the_backing_image_is_the_default_and_the_least(host: Host) -> None:
    storage.make(host, volume(name="base.qcow2", size=5 * MIB), work())
    over = {"backing": "/fast/base.qcow2", "backing_format": "qcow2"}
    storage.make(host, volume(name="over.qcow2", size=0, **over), work())
    assert host.conn.storageVolLookupByPath("/fast/over.qcow2").info()[1] == 5 * MIB
    with pytest.raises(Refused) as caught:
        storage.make(host, volume(name="small.qcow2", size=MIB, **over), work())
    assert "less than the image" in caught.value.message
    assert storage.exists(host, volume(name="small.qcow2")) is False


def test_what_libvirt_is_asked_for() -> None:
    made = volume(backing="/img/<b>&.raw", backing_format="raw")
    tree = ElementTree.fromstring(storage.volume_xml("dir", made, MIB))
    assert tree.findtext("capacity") == str(MIB)
    assert tree.findtext("allocation") == "0"
    assert tree.findtext("target/permissions/mode") == "0600"
    assert tree.findtext("target/compat") == "1.1"
    assert [found.get("type") for found in tree.iter("format")] == ["qcow2", "raw"]
    assert tree.findtext("backingStore/path") == "/img/<b>&.raw"
    assert ElementTree.fromstring(storage.volume_xml("dir", made, 0)).find("capacity") is None
    assert ElementTree.fromstring(storage.volume_xml("logical", made, MIB)).find("allocation") is None
    assert tree.find("target/encryption") is None


@pytest.mark.parametrize("by", [{"uuid": "6b766d63-746c-4000-8000-0000000000aa"}, {"usage": "/a & b"}])
def test_an_encrypted_volume_names_its_secret_alone(by: dict[str, str]) -> None:
    made = volume(encryption=Encryption(format="luks", **by))
    found = ElementTree.fromstring(storage.volume_xml("dir", made, MIB)).find("target/encryption")
    assert found is not None
    assert [(each.tag, each.attrib) for each in found.iter()] == [
        ("encryption", {"format": "luks"}),
        ("secret", {"type": "passphrase", **by}),
    ]


def test_without_pools_nothing_is_encrypted(tmp_path: Path) -> None:
    made = volume(None, path=str(tmp_path / "a.raw"), encryption=Encryption(format="luks", uuid="s"))
    with pytest.raises(Refused, match="no storage pools"):
        storage.make(embedded(tmp_path), made, work())
    assert not (tmp_path / "a.raw").exists()


def test_luks_is_tried_again_where_a_busy_host_could_not_be_measured() -> None:
    class Pool:
        """Says so a number of times."""

        def __init__(self, times: int) -> None:
            self.times = times

        def createXML(self, text: str, flags: int) -> None:  # noqa: N802 - libvirt's name
            self.times -= 1
            if self.times >= 0:
                error = libvirt.libvirtError("virStorageVolCreateXML() failed")
                error.err = (1, 0, f"qemu-img: /a: {storage.UNMEASURED}", 2, "", None, None, 0, 0)
                raise error

    made = Pool(2)
    storage._make_in(made, "", work())
    assert made.times == -1
    with pytest.raises(libvirt.libvirtError):
        storage._make_in(Pool(storage.UNMEASURED_TRIES), "", work())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("inaccessible backing store volume /x: No such file or directory", "resource-missing"),
        ("qemu-img: /fast/a: Could not write qcow2 header: No space left on device", "no-space"),
        ("volume target path '/fast/a.qcow2' already exists", "disk-exists"),
        ("something else", "libvirt-failed"),
    ],
)
def test_refusals_of_libvirt_are_told_in_our_terms(
    host: Host, monkeypatch: pytest.MonkeyPatch, said: str, code: str
) -> None:
    def refuse(*arguments: object) -> None:
        error = libvirt.libvirtError("createXML failed")
        error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, 18, said, 2, None, None, None, -1, -1)
        raise error

    monkeypatch.setattr(libvirt.virStoragePool, "createXML", refuse)
    with pytest.raises(KvmctlError) as caught:
        storage.make(host, volume(backing="/x", backing_format="raw"), work())
    assert caught.value.code == code


def test_free_bytes(host: Host) -> None:
    pool = storage.pool(host, "fast")
    before = storage.free_bytes(pool)
    assert before > 0


# -- the embedded host ---------------------------------------------------------------------------------


def test_the_embedded_hosts_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage.embedded_images(embedded(tmp_path)) == f"{tmp_path}/images"
    monkeypatch.setenv("KVMCTL_STATE_DIR", "/state")
    host = embedded(tmp_path)
    host.target = Target("embedded", "qemu:///embed")
    assert storage.embedded_images(host) == "/state/embedded/images"


def test_files_of_the_embedded_host(tmp_path: Path) -> None:
    host = embedded(tmp_path)
    new = volume(pool=None, path=f"{tmp_path}/images/a.qcow2")
    assert storage.exists(host, new) is False
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.qcow2").symlink_to("/nowhere/at/all")
    assert storage.exists(host, new) is True
    assert storage.remove(host, new.path) is True
    assert storage.exists(host, new) is False


def test_an_image_that_the_embedded_host_does_not_have(tmp_path: Path) -> None:
    new = volume(pool=None, path=f"{tmp_path}/a.qcow2", backing=f"{tmp_path}/none", backing_format="raw")
    with pytest.raises(Refused) as caught:
        storage.make(embedded(tmp_path), new, work())
    assert caught.value.code == "resource-missing"
    assert not (tmp_path / "a.qcow2").exists()


def qcow2(path: Path, backing: str) -> None:
    name = backing.encode()
    path.write_bytes(b"QFI\xfb\0\0\0\3" + (512).to_bytes(8, "big") + len(name).to_bytes(4, "big") + b"\0" * 492 + name)


def test_backing_users_of_the_embedded_host(tmp_path: Path) -> None:
    images, other = tmp_path / "images", tmp_path / "other"
    images.mkdir()
    other.mkdir()
    qcow2(images / "a.qcow2", "base.qcow2")
    qcow2(images / "b.qcow2", str(images / "base.qcow2"))
    qcow2(other / "c.qcow2", 'json:{"driver":"qcow2","file":{"filename":"' + str(images / "base.qcow2") + '"}}')
    (images / "base.qcow2").write_bytes(b"raw")
    (images / "directory").mkdir()
    base = str(images / "base.qcow2")
    assert storage.backing_users(embedded(tmp_path)) == {base: {str(images / "a.qcow2"), str(images / "b.qcow2")}}
    found = storage.backing_users(embedded(tmp_path), [str(other), "/not/there"])
    assert found[base] == {str(images / "a.qcow2"), str(images / "b.qcow2"), str(other / "c.qcow2")}
