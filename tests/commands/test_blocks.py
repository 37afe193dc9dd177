"""Block devices of the host as disks of VMs: what `create` and `start` refuse of them, on a machine made of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvmctl.host import blocks
from tests.commands.conftest import Vms
from tests.conftest import InProcess
from tests.host.pci.tree import Tree

BY_ID = "/dev/disk/by-id/nvme-KVM_1"
DISK = "<devices><disk type='{kind}'><source {source}/><target dev='vda' bus='virtio'/>{more}</disk></devices>"
Spec = Callable[[str], Path]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """/ on vg0/root, on sda2; free are sda1, vg0/web1, the multipath disk's one path aside, and nvme0n1."""
    made = Tree(tmp_path / "machine")
    made.block("sda")
    made.link("dev/disk/by-id/ata-1", "dev/sda")
    for name in ("sda1", "sda2"):
        made.block(name, below=("sda",), kind="partition")
    made.mount(made.block("dm-0", below=("sda2",), kind="dm:LVM-1:vg0-root"), "/", "/dev/mapper/vg0-root")
    made.block("dm-1", below=("sda2",), kind="dm:LVM-2:vg0-web1")
    made.link("dev/vg0/web1", "dev/dm-1")
    made.block("nvme0n1")
    made.link("dev/disk/by-id/nvme-KVM_1", "dev/nvme0n1")
    made.block("sdb")
    made.block("dm-2", below=("sdb",), kind="dm:mpath-3:mpatha")
    made.block("dm-3", below=("dm-2",), kind="dm:part1-mpath-3:mpatha-part1")
    made.file("dev/shm/disk.raw")
    monkeypatch.setattr(blocks, "ROOT", made.root)
    monkeypatch.setattr(blocks, "is_here", lambda host: True)
    return made


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    def write(more: str) -> Path:
        path = tmp_path / "web1.yaml"
        path.write_text(f"name: web1\nmemory: 1GiB\naccelerator: tcg\n{more}\n")
        return path

    return write


def disk(path: str, more: str = "", kind: str = "block") -> str:
    return DISK.format(kind=kind, source=f"{'dev' if kind == 'block' else 'file'}='{path}'", more=more)


def refused(run: InProcess, command: list[str | Path]) -> list[tuple[str, str]]:
    error = run([*command, "-o", "json"], exit=5).json["error"]
    assert error["code"] == "device-refused"
    return [(reason["code"], reason["message"]) for reason in error["reasons"]]


@pytest.mark.parametrize("path", ["/dev/sda", "/dev/disk/by-id/ata-1"])
def test_create_refuses_what_the_host_runs_from(run: InProcess, vms: Vms, tree: Tree, spec: Spec, path: str) -> None:
    told = refused(run, ["create", spec(f"disks: [{{path: {path}}}]")])
    assert [code for code, _ in told] == ["host-needs-device"]
    assert "/ is on vg0/root, on sda2, on sda" in told[0][1]
    assert refused(run, ["create", spec(f"disks: [{{path: {path}}}]"), "--dry-run"]) == told
    assert run("list -o name").stdout.split() == ["test"]
    done = run(["create", spec(f"disks: [{{path: {path}}}]"), "--force-host-device", "/dev/sda"])
    assert f"web1: the host loses {path}" in done.stderr


@pytest.mark.parametrize("path", ["/dev/sda1", "/dev/vg0/web1", "/dev/dm-2", BY_ID, "/dev/shm/disk.raw", "/dev/gone"])
def test_what_is_free_is_given(run: InProcess, vms: Vms, tree: Tree, spec: Spec, path: str) -> None:
    done = run(["create", spec(f"disks: [{{path: {path}}}]"), "--start"])
    assert done.stderr == "web1: created and started\n"


def test_each_disk_is_told_of_and_names_are_followed(run: InProcess, vms: Vms, tree: Tree, spec: Spec) -> None:
    tree.mount("8:6", "/srv", "/dev/nvme0n1")
    path = spec(f"disks: [{{path: {BY_ID}}}, {{path: /dev/sdb}}, {{path: /dev/sda1}}]")
    told = refused(run, ["create", path])
    assert told == [
        ("host-needs-device", f"the host needs {BY_ID} (nvme0n1): /srv is on nvme0n1"),
        ("host-needs-device", "the host needs /dev/sdb: mpatha is made of sdb"),
    ]
    run(["create", path, "--force-host-device", "/dev/nvme0n1", "--force-host-device", "/dev/sdb"])


def test_raw_xml_hides_nothing(run: InProcess, vms: Vms, tree: Tree, spec: Spec) -> None:
    for kind in ("block", "file"):
        xml = f"<domain>{disk('/dev/sda2', kind=kind)}</domain>"
        assert refused(run, ["create", spec(f'raw_xml: "{xml}"')])[0][0] == "host-needs-device"


def test_a_scsi_device_of_another_vm_is_a_disk_too(run: InProcess, vms: Vms, tree: Tree) -> None:
    tree.file("sys/class/scsi_device/2:0:2:0/device/block/nvme0n1/dev")
    address = "<adapter name='scsi_host2'/><address bus='0' target='2' unit='0'/>"
    vms.define(
        "web2",
        running=True,
        more=f"<devices><hostdev mode='subsystem' type='scsi'><source>{address}</source></hostdev></devices>",
    )
    vms.define("web1", more=disk(BY_ID))
    [(code, message)] = refused(run, ["start", "web1"])
    assert (code, "web2 runs with /dev/nvme0n1" in message or "web2 runs with it" in message) == ("device-in-use", True)


def test_start_looks_again(run: InProcess, vms: Vms, tree: Tree) -> None:
    vms.define("web1", more=disk("/dev/sda2"))
    assert refused(run, ["start", "web1"])[0][0] == "host-needs-device"
    assert run("start web1 --force-host-device /dev/sda2 -o json").json["changed"] is True
    # One that runs is left alone.
    assert run("start web1 -o json").json["changed"] is False


def test_a_disc_that_is_mounted_can_be_read(run: InProcess, vms: Vms, tree: Tree, spec: Spec) -> None:
    tree.mount("8:6", "/media", "/dev/nvme0n1")
    done = run(["create", spec(f"cdrom: [{{path: {BY_ID}}}]"), "--start"])
    assert "web1: the host uses" in done.stderr


def test_two_vms_write_to_one_disk_only_if_both_share_it(run: InProcess, vms: Vms, tree: Tree) -> None:
    vms.define("web2", running=True, more=disk(BY_ID))
    vms.define("web1", more=disk("/dev/nvme0n1"))
    vms.define("web3", more=disk("/dev/nvme0n1", "<shareable/>"))
    for name in ("web1", "web3"):
        [(code, message)] = refused(run, ["start", name, "--force-host-device", "/dev/nvme0n1"])
        assert code == "device-in-use"
        assert message == "/dev/nvme0n1 cannot be given away: web2 runs with it"
    vms.conn.lookupByName("web2").destroy()
    run("start web3")
    vms.define("web4", running=True, more=disk("/dev/nvme0n1", "<shareable/>"))
    run("stop web3 --force --timeout 1")
    run("start web3")


def test_create_alone_does_not_mind_who_runs_with_it(run: InProcess, vms: Vms, tree: Tree, spec: Spec) -> None:
    vms.define("web2", running=True, more=disk("/dev/nvme0n1"))
    path = spec(f"disks: [{{path: {BY_ID}}}]")
    assert refused(run, ["create", path, "--start"])[0][0] == "device-in-use"
    run(["create", path])


def test_what_is_claimed_by_whatever_it_is(
    run: InProcess, vms: Vms, tree: Tree, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [True]
    monkeypatch.setattr(blocks, "GLANCE", 0.0)
    monkeypatch.setattr(blocks, "claimed", lambda system, name: answers.pop(0) if answers[1:] else answers[0])
    path = spec(f"disks: [{{path: {BY_ID}}}]")
    [(code, message)] = refused(run, ["create", path])
    assert (code, "something of the host has nvme0n1 for itself" in message) == ("host-needs-device", True)
    # Whoever only looks at a disk has it for a moment; and what only root may ask is no reason.
    answers[:] = [True, False]
    run(["create", path])
    run("delete web1")
    answers[:] = [None]  # type: ignore[list-item]
    run(["create", path])
    run("delete web1")
    # What is mapped onto it has it for itself as well, and is judged by what becomes of that.
    answers[:] = [True]
    tree.file("sys/class/block/nvme0n1/holders/dm-9")
    run(["create", path])


def test_on_a_host_elsewhere_nothing_is_known_of_its_disks(
    run: InProcess, vms: Vms, tree: Tree, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "is_here", lambda host: False)
    run(["create", spec("disks: [{path: /dev/sda}]"), "--start"])


def test_nothing_is_looked_at_of_other_vms(
    run: InProcess, vms: Vms, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*arguments: object, **more: object) -> None:
        raise AssertionError("looked")

    for name in ("blocks", "claimed", "is_here"):
        monkeypatch.setattr(blocks, name, look)
    vms.define("web1", more=disk("/srv/web1.raw", kind="file"))
    run("start web1")
