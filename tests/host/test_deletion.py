"""Deleting VMs on libvirt's test driver: what is refused, what goes, and that it can be finished later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import Conflict, Interrupted, KvmctlError, NotFound, Refused
from kvmctl.host import deletion, storage
from kvmctl.host.connection import Host, connect
from kvmctl.host.deletion import delete
from kvmctl.host.library import libvirt
from kvmctl.host.targets import Target
from kvmctl.parallel import Work

CREATING = """<metadata><k:vm xmlns:k='https://kvmctl.dev/xmlns/vm/1'>
  <k:creating pid='1'>{}</k:creating></k:vm></metadata>"""


def work() -> Work:
    return Work(30, threading.Event())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "node.xml").write_text(
        "<node><pool type='dir'><name>fast</name><target><path>/fast</path></target></pool></node>"
    )
    with connect(Target("test", f"test://{tmp_path}/node.xml")) as found:
        yield found


def define(host: Host, name: str, *disks: str, more: str = "", start: bool = False) -> libvirt.virDomain:
    """A VM; a disk is written POOL/VOLUME, /PATH, or as XML."""
    devices = ""
    for number, disk in enumerate(disks):
        kind = "file"
        if disk.startswith("<"):
            source = disk
        elif disk.startswith("/"):
            source = f"<source file='{disk}'/>"
        else:
            kind, source = "volume", "<source pool='{}' volume='{}'/>".format(*disk.split("/"))
        devices += f"<disk type='{kind}'>{source}<target dev='vd{'abcdef'[number]}'/></disk>"
    xml = f"""<domain type='test'><name>{name}</name>{more}<memory>1024</memory><os><type>hvm</type></os>
      <devices>{devices}</devices></domain>"""
    domain = host.conn.defineXML(xml)
    if start:
        domain.create()
    return domain


def volume(host: Host, name: str, backing: str = "") -> str:
    below = f"<backingStore><path>{backing}</path><format type='qcow2'/></backingStore>" if backing else ""
    host.conn.storagePoolLookupByName("fast").createXML(
        f"<volume><name>{name}</name><capacity>1024</capacity><target><format type='qcow2'/></target>{below}</volume>"
    )
    return f"/fast/{name}"


def volumes(host: Host) -> list[str]:
    return sorted(host.conn.storagePoolLookupByName("fast").listVolumes())


def vms(host: Host) -> list[str]:
    return sorted(domain.name() for domain in host.conn.listAllDomains())


def test_disks_are_kept_unless_asked_for(host: Host) -> None:
    path = volume(host, "a")
    uuid = define(host, "web1", path).UUIDString()
    assert delete(host, "web1", work()) == {
        "name": "web1",
        "uuid": uuid,
        "state": "deleted",
        "host": "test",
        "disks_deleted": [],
        "disks_kept": [{"path": "/fast/a", "reason": "--disks was not given"}],
        "notes": [],
    }
    assert (vms(host), volumes(host)) == ([], ["a"])


def test_with_disks_and_by_uuid(host: Host) -> None:
    domain = define(host, "web1", volume(host, "a"), "/dev/sdb", "fast/b")
    volume(host, "b")
    volume(host, "c")
    answer = delete(host, domain.UUIDString(), work(), disks=True)
    assert answer["disks_deleted"] == ["/fast/a", "/fast/b"]
    assert answer["disks_kept"] == [{"path": "/dev/sdb", "reason": "a block device"}]
    assert (vms(host), volumes(host)) == ([], ["c"])


def test_a_disk_that_is_gone_already_is_no_obstacle(host: Host) -> None:
    define(host, "web1", "/fast/gone", "/elsewhere/gone", "slow/gone")
    assert delete(host, "web1", work(), disks=True)["disks_deleted"] == []
    assert vms(host) == []


def test_an_unknown_vm(host: Host) -> None:
    with pytest.raises(NotFound) as caught:
        delete(host, "web1", work())
    assert caught.value.code == "vm-not-found"


def test_a_running_vm_is_refused_without_force(host: Host) -> None:
    domain = define(host, "web1", volume(host, "a"), start=True)
    with pytest.raises(Refused) as caught:
        delete(host, "web1", work(), disks=True)
    assert (caught.value.code, caught.value.exit_code) == ("vm-running", 5)
    assert domain.isActive()
    assert delete(host, "web1", work(), force=True, disks=True)["disks_deleted"] == ["/fast/a"]
    assert (vms(host), volumes(host)) == ([], [])


def test_a_vm_without_a_definition_goes_with_its_process(host: Host) -> None:
    volume(host, "a")
    host.conn.createXML(
        "<domain type='test'><name>web1</name><memory>1024</memory><os><type>hvm</type></os><devices>"
        "<disk type='file'><source file='/fast/a'/><target dev='vda'/></disk></devices></domain>"
    )
    with pytest.raises(Refused):
        delete(host, "web1", work(), disks=True)
    assert delete(host, "web1", work(), force=True, disks=True)["disks_deleted"] == ["/fast/a"]
    assert (vms(host), volumes(host)) == ([], [])


def user_directly(host: Host) -> str:
    define(host, "db1", "/fast/a")
    return "VM 'db1'"


def user_by_pool(host: Host) -> str:
    define(host, "db1", "fast/a")
    return "VM 'db1'"


def user_live_only(host: Host) -> str:
    domain = define(host, "db1", "/fast/z", start=True)
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).replace("/fast/z", "/fast/y")
    host.conn.defineXML(xml)
    assert "/fast/z" in domain.XMLDesc()
    volume(host, "z")
    return "VM 'db1'"


def user_by_backing_chain(host: Host) -> str:
    below = "<backingStore type='file'><format type='qcow2'/><source file='/fast/a'/></backingStore>"
    define(host, "db1", f"<source file='/fast/x'/>{below}")
    return "VM 'db1'"


def user_as_nvram(host: Host) -> str:
    domain = define(host, "db1")
    xml = domain.XMLDesc().replace(
        "</os>", "<loader readonly='yes' type='pflash'>/l</loader><nvram>/fast/a</nvram></os>"
    )
    host.conn.defineXML(xml)
    return "VM 'db1'"


def user_overlay(host: Host) -> str:
    volume(host, "over", backing="/fast/a")
    return "/fast/over, whose backing file it is"


@pytest.mark.parametrize(
    "user",
    [user_directly, user_by_pool, user_live_only, user_by_backing_chain, user_as_nvram, user_overlay],
)
@pytest.mark.parametrize("running", [False, True])
def test_a_disk_in_use_refuses_all_before_anything_is_done(
    host: Host, user: Callable[[Host], str], running: bool
) -> None:
    path = "/fast/z" if user is user_live_only else "/fast/a"
    if user is not user_live_only:
        volume(host, "a")
    who = user(host)
    domain = define(host, "web1", volume(host, "own"), path, start=running)
    before = (vms(host), volumes(host))
    with pytest.raises(Refused) as caught:
        delete(host, "web1", work(), force=True, disks=True)
    assert (caught.value.code, caught.value.exit_code) == ("disk-in-use", 5)
    assert f"{path} is used by {who}" in caught.value.message
    assert (vms(host), volumes(host), bool(domain.isActive())) == (*before, running)
    delete(host, "web1", work(), force=True)
    assert volumes(host) == before[1]


def test_killed_half_way_it_is_finished_by_the_next(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    define(host, "web1", volume(host, "a"), volume(host, "b"))
    remove, calls = storage.remove, []

    def once(*arguments: Any) -> bool:
        calls.append(arguments)
        if len(calls) == 2:
            raise KvmctlError("libvirt-failed", "killed")
        return remove(*arguments)

    monkeypatch.setattr(storage, "remove", once)
    with pytest.raises(KvmctlError, match="killed"):
        delete(host, "web1", work(), disks=True)
    assert (vms(host), volumes(host)) == (["web1"], ["b"])
    monkeypatch.undo()
    assert delete(host, "web1", work(), disks=True)["disks_deleted"] == ["/fast/b"]
    assert (vms(host), volumes(host)) == ([], [])


def test_interrupted_before_it_began_nothing_is_done(host: Host) -> None:
    define(host, "web1", volume(host, "a"), start=True)
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Interrupted):
        delete(host, "web1", Work(30, cancelled), force=True, disks=True)
    assert host.conn.lookupByName("web1").isActive()
    assert volumes(host) == ["a"]


def test_started_meanwhile_nothing_is_deleted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = define(host, "web1", volume(host, "a"))
    decide = deletion._decide

    def slow(*arguments: Any, **more: Any) -> Any:
        domain.create()
        return decide(*arguments, **more)

    monkeypatch.setattr(deletion, "_decide", slow)
    with pytest.raises(Conflict) as caught:
        delete(host, "web1", work(), disks=True)
    assert (caught.value.code, caught.value.exit_code) == ("state-changed", 6)
    assert (domain.isActive(), volumes(host)) == (1, ["a"])


def test_a_half_created_vm_goes_with_what_was_made_for_it(host: Host) -> None:
    pending = "<k:disk path='/fast/a' pool='fast'/><k:disk path='/fast/never-made' pool='fast'/>"
    define(host, "web1", volume(host, "a"), volume(host, "data"), more=CREATING.format(pending))
    answer = delete(host, "web1", work())
    assert answer["disks_deleted"] == ["/fast/a"]
    assert answer["disks_kept"] == [{"path": "/fast/data", "reason": "--disks was not given"}]
    assert (vms(host), volumes(host)) == ([], ["data"])


def test_managed_save_and_snapshots_go_along(host: Host) -> None:
    domain = define(host, "web1", start=True)
    domain.snapshotCreateXML("<domainsnapshot/>")
    domain.managedSave()
    assert delete(host, "web1", work())["state"] == "deleted"
    assert vms(host) == []


def test_an_older_libvirt_is_asked_for_what_it_knows(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Domain:
        def __init__(self, code: int) -> None:
            self.code = code

        def undefineFlags(self, flags: int) -> None:  # noqa: N802 - libvirt's name
            asked.append(flags)
            if flags > libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE:
                error = libvirt.libvirtError("unsupported flags")
                error.err = (self.code, 10, "unsupported flags", 2, None, None, None, -1, -1)
                raise error

    deletion.undefine(Domain(libvirt.VIR_ERR_INVALID_ARG))
    every = libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | 3
    assert asked[0] & every == every
    assert asked[-1] == 3
    with pytest.raises(libvirt.libvirtError):
        deletion.undefine(Domain(libvirt.VIR_ERR_OPERATION_FAILED))
