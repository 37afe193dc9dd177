"""`kvmctl delete` end to end on libvirt's test driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import InProcess

NODE = """<node>
  <pool type='dir'><name>fast</name><target><path>/fast</path></target>
    <volume type='file'><name>web1</name><capacity>1024</capacity></volume>
    <volume type='file'><name>db1</name><capacity>1024</capacity></volume>
  </pool>
  {domains}
</node>"""

DOMAIN = """<domain type='test'><name>{name}</name><memory>1024</memory><os><type>hvm</type></os><devices>
  <disk type='file'><source file='/fast/{disk}'/><target dev='vda'/></disk>
  <disk type='block'><source dev='/dev/sdb'/><target dev='vdb'/></disk></devices></domain>"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Two VMs with a disk each, and a third that shares the disk of the second; the test driver starts all."""
    wanted = {"web1": "web1", "db1": "db1", "db2": "db1"}
    domains = "".join(DOMAIN.format(name=name, disk=disk) for name, disk in wanted.items())
    (tmp_path / "node.xml").write_text(NODE.format(domains=domains))
    return f"test://{tmp_path}/node.xml"


def test_one_vm_gives_one_object(run: InProcess, uri: str) -> None:
    done = run(f"-H {uri} delete web1 --force --disks -o json").json
    assert done.pop("uuid")
    assert done == {
        "name": "web1",
        "state": "deleted",
        "host": uri,
        "disks_deleted": ["/fast/web1"],
        "disks_kept": [{"path": "/dev/sdb", "reason": "a block device"}],
        "notes": [],
    }


def test_people_read_what_became_of_each_disk(run: InProcess, uri: str) -> None:
    done = run(f"-H {uri} delete web1 --force --disks")
    assert done.stdout == ""
    assert done.stderr == "web1: deleted\n  deleted /fast/web1\n  kept /dev/sdb: a block device\n"
    assert "  kept /fast/web1: --disks was not given\n" in run(f"-H {uri} delete web1 --force").stderr


def test_a_running_vm_is_refused(run: InProcess, uri: str) -> None:
    refused = run(f"-H {uri} delete web1 -o json", exit=5)
    assert (refused.json["error"]["code"], refused.json["error"]["vm"]) == ("vm-running", "web1")
    assert "hint: kvmctl stop web1" in refused.stderr


def test_a_disk_in_use_is_refused(run: InProcess, uri: str) -> None:
    refused = run(f"-H {uri} delete db1 --force --disks -o json", exit=5).json["error"]
    assert refused["code"] == "disk-in-use"
    assert "VM 'db2'" in refused["message"]


def test_some_of_several(run: InProcess, uri: str) -> None:
    done = run(f"-H {uri} delete --force --disks web1 nobody db2 web1 -o json", exit=9)
    assert [item.get("state", item.get("error", {}).get("code")) for item in done.json] == [
        "deleted",
        "vm-not-found",
        "disk-in-use",
    ]
    assert [item["name"] for item in done.json] == ["web1", "nobody", "db2"]


def test_an_unknown_vm_and_no_vm(run: InProcess, uri: str) -> None:
    assert run(f"-H {uri} delete web11 -o json", exit=3).json["error"]["hint"] == "did you mean 'web1'?"
    run(f"-H {uri} delete", exit=2)


def test_names_are_the_answer_of_o_name(run: InProcess, uri: str) -> None:
    assert run(f"-H {uri} delete --force web1 db1 -o name").stdout == "web1\ndb1\n"
