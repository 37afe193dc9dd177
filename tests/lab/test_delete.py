"""`kvmctl delete` with real VMs and real disks: what goes, what stays, and what is done again after a failure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.hosts import Host

IMAGES = "/var/lib/libvirt/images"
ELSEWHERE = "/var/lib/libvirt/elsewhere"
Spec = Callable[..., Path]

CREATING = """<metadata><k:vm xmlns:k='https://kvmctl.dev/xmlns/vm/1'><k:creating host='gone' pid='1' since='then'>
  <k:disk path='{images}/web1-vda.qcow2' pool='default'/><k:disk path='{images}/web1-vdb.qcow2' pool='default'/>
  </k:creating></k:vm></metadata>"""


@pytest.fixture
def elsewhere(host1: Host) -> Iterator[Path]:
    """A directory that is in no pool, as it is seen from outside."""
    host1.run(f"mkdir {ELSEWHERE}")
    yield host1.directory / "lib/elsewhere"
    host1.run(f"rm -r {ELSEWHERE}")


def define(host: Host, name: str, *disks: str, more: str = "", kind: str = "define") -> None:
    """A VM by virsh; a disk is a path, or an XML element as it is."""
    devices = ""
    for letter, disk in zip("abcdef", disks):
        plain = f"<driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vd{letter}'/>"
        devices += disk if disk.startswith("<") else f"<disk type='file'>{plain}</disk>"
    path = host.directory / "run/vm.xml"
    path.write_text(
        f"<domain type='qemu'><name>{name}</name>{more}<memory unit='MiB'>32</memory>"
        f"<os><type machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"
    )
    virsh(host, f"{kind} /run/vm.xml")


def virsh(host: Host, command: str) -> str:
    return host.run(f"virsh --connect qemu:///system {command}").stdout


def image(host: Host, path: str, *more: str) -> str:
    host.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, path, *([] if "-b" in more else ["1M"])])
    return path


def images(host: Host) -> list[str]:
    return sorted(path.name for path in host.images.iterdir())


def vms(host: Host) -> list[str]:
    return virsh(host, "list --all --name").split()


def test_a_running_guest_with_its_disks(host1: Host, host2: Host, guest_spec: Spec) -> None:
    spec = guest_spec("web1", "disks: [{size: 64MiB}, {size: 32MiB, format: raw}]")
    made = host1.kvmctl(["create", spec, "--start", "-o", "json"]).json
    assert len(images(host1)) == 2
    refused = host2.kvmctl("-H host1 delete web1 --disks -o json", exit=5).json
    assert refused["error"]["code"] == "vm-running"
    assert (vms(host1), len(images(host1)), "web1" in host1.qemus()) == (["web1"], 2, True)
    done = host2.kvmctl("-H host1 delete web1 --force --disks -o json").json
    assert done == {
        "name": "web1",
        "uuid": made["uuid"],
        "state": "deleted",
        "host": "host1",
        "disks_deleted": [disk["path"] for disk in made["disks"]],
        "disks_kept": [],
        "notes": [],
    }
    assert (vms(host1), images(host1), host1.qemus()) == ([], [], {})


def test_uefi_variables_saved_state_snapshots_and_checkpoints_go_along(host1: Host) -> None:
    path = image(host1, f"{IMAGES}/web1.qcow2")
    define(host1, "web1", path)
    virsh(host1, "start web1")
    virsh(host1, "checkpoint-create-as web1 point")
    virsh(host1, "destroy web1")
    define(host1, "web2", image(host1, f"{IMAGES}/web2.qcow2"))
    virsh(host1, "snapshot-create-as web2 snap")
    virsh(host1, "start web2")
    virsh(host1, "managedsave web2")
    define(host1, "web3")
    xml = virsh(host1, "dumpxml web3").replace("<os>", "<features><acpi/></features><os firmware='efi'>")
    (host1.directory / "run/vm.xml").write_text(xml)
    virsh(host1, "define /run/vm.xml")
    virsh(host1, "start web3")
    virsh(host1, "destroy web3")
    variables = list((host1.directory / "lib/qemu/nvram").iterdir())
    saved = list((host1.directory / "lib/qemu/save").iterdir())
    assert (len(variables), len(saved)) == (1, 1)
    done = host1.kvmctl("delete web1 web2 web3 -o json").json
    assert [item["state"] for item in done] == ["deleted"] * 3
    assert (vms(host1), images(host1)) == ([], ["web1.qcow2", "web2.qcow2"])
    assert not any(path.exists() for path in (*variables, *saved))


def used_directly(host: Host, disk: str) -> str:
    define(host, "db1", disk)
    return "VM 'db1'"


def used_by_volume_in_a_stopped_pool(host: Host, disk: str) -> str:
    define(host, "db1", "<disk type='volume'><source pool='default' volume='web1.qcow2'/><target dev='vda'/></disk>")
    virsh(host, "pool-destroy default")
    return "VM 'db1'"


def used_below_a_running_overlay(host: Host, disk: str) -> str:
    image(host, f"{ELSEWHERE}/middle.qcow2", "-b", disk, "-F", "qcow2")
    define(host, "db1", image(host, f"{ELSEWHERE}/top.qcow2", "-b", f"{ELSEWHERE}/middle.qcow2", "-F", "qcow2"))
    virsh(host, "start db1")
    return "VM 'db1'"


def used_below_an_overlay_in_no_pool(host: Host, disk: str) -> str:
    define(host, "db1", image(host, f"{ELSEWHERE}/top.qcow2", "-b", disk, "-F", "qcow2"))
    return f"{ELSEWHERE}/top.qcow2, whose backing file it is"


def used_below_a_file_that_no_vm_has(host: Host, disk: str) -> str:
    image(host, f"{IMAGES}/orphan.qcow2", "-b", disk, "-F", "qcow2")
    return f"{IMAGES}/orphan.qcow2, whose backing file it is"


@pytest.mark.parametrize(
    "use",
    [
        used_directly,
        used_by_volume_in_a_stopped_pool,
        used_below_a_running_overlay,
        used_below_an_overlay_in_no_pool,
        used_below_a_file_that_no_vm_has,
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_a_disk_that_another_needs_refuses_all(host1: Host, use: Callable[[Host, str], str]) -> None:
    disk = image(host1, f"{IMAGES}/web1.qcow2")
    own = image(host1, f"{IMAGES}/own.qcow2")
    define(host1, "web1", own, disk)
    who = use(host1, disk)
    before = (vms(host1), images(host1))
    try:
        error = host1.kvmctl("delete web1 --force --disks -o json", exit=5).json["error"]
    finally:
        host1.run("virsh --connect qemu:///system pool-start default", check=False)
    assert error["code"] == "disk-in-use"
    assert f"{disk} is used by {who}" in error["message"]
    assert (vms(host1), images(host1)) == before


@pytest.mark.usefixtures("elsewhere")
def test_what_is_kept_is_kept_and_said(host1: Host) -> None:
    own = image(host1, f"{ELSEWHERE}/own.qcow2")
    base = image(host1, f"{IMAGES}/base.qcow2")
    over = image(host1, f"{IMAGES}/over.qcow2", "-b", base, "-F", "qcow2")
    (host1.images / "cd.iso").write_text("")
    (host1.images / "shared").write_text("")
    define(
        host1,
        "web1",
        own,
        over,
        f"<disk type='file' device='cdrom'><source file='{IMAGES}/cd.iso'/><target dev='sda'/></disk>",
        "<disk type='block'><source dev='/dev/null'/><target dev='vdc'/></disk>",
        f"<disk type='file'><driver type='raw'/><source file='{IMAGES}/shared'/><target dev='vdd'/><shareable/></disk>",
    )
    said = host1.kvmctl("delete web1 --disks").stderr
    assert said.splitlines() == [
        "web1: deleted",
        f"  deleted {own}",
        f"  deleted {over}",
        f"  kept {IMAGES}/cd.iso: a CD image",
        "  kept /dev/null: a block device",
        f"  kept {IMAGES}/shared: shareable",
    ]
    assert images(host1) == ["base.qcow2", "cd.iso", "shared"]
    assert not (host1.directory / "lib/elsewhere/own.qcow2").exists()
    assert virsh(host1, "pool-list --all --name").split() == ["default"]


def test_what_failed_half_way_is_finished_by_the_next(host1: Host, elsewhere: Path) -> None:
    first = image(host1, f"{IMAGES}/first.qcow2")
    stuck = image(host1, f"{ELSEWHERE}/stuck.qcow2")
    define(host1, "web1", first, stuck)
    host1.run(f"mount --bind {stuck} {stuck}")  # which cannot be unlinked
    try:
        failed = host1.kvmctl("delete web1 --disks -o json", exit=1).json["error"]
    finally:
        host1.run(f"umount {stuck}")
    assert stuck in failed["message"]
    assert (vms(host1), images(host1)) == (["web1"], [])
    done = host1.kvmctl("delete web1 --disks -o json").json
    assert done["disks_deleted"] == [stuck]
    assert (vms(host1), list(elsewhere.iterdir())) == ([], [])


def test_a_half_created_vm_goes_with_what_was_made_for_it(host1: Host) -> None:
    made = image(host1, f"{IMAGES}/web1-vda.qcow2")
    data = image(host1, f"{IMAGES}/data.qcow2")
    define(host1, "web1", made, f"{IMAGES}/web1-vdb.qcow2", data, more=CREATING.format(images=IMAGES))
    done = host1.kvmctl("delete web1 -o json").json
    assert done["disks_deleted"] == [made]
    assert done["disks_kept"] == [{"path": data, "reason": "--disks was not given"}]
    assert (vms(host1), images(host1)) == ([], ["data.qcow2"])


def test_a_vm_that_is_not_defined(host1: Host) -> None:
    path = image(host1, f"{IMAGES}/web1.qcow2")
    define(host1, "web1", path, kind="create")
    done: dict[str, Any] = json.loads(host1.kvmctl("delete web1 --force --disks -o json").stdout)
    assert done["disks_deleted"] == [path]
    assert (vms(host1), images(host1)) == ([], [])


@pytest.mark.usefixtures("elsewhere")
def test_several_at_once_from_one_directory(host1: Host) -> None:
    names = [f"web{number}" for number in range(6)]
    for name in names:
        define(host1, name, image(host1, f"{ELSEWHERE}/{name}.qcow2"))
    done = host1.kvmctl(["delete", "--disks", "-o", "json", *names]).json
    assert [item["disks_deleted"] for item in done] == [[f"{ELSEWHERE}/{name}.qcow2"] for name in names]
    assert (vms(host1), virsh(host1, "pool-list --all --name").split()) == ([], ["default"])
