"""`create` is all or nothing: whatever fails, at whatever step, on a real libvirtd."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.lab.hosts import Host
from tests.lab.waiting import LIMIT
from tests.results import Result

FAULTS = Path(__file__).parent / "faults"
STEPS = 60
"""More libvirt calls than one `create` makes."""
DEEDS = ("virDomainDefineXML", "virDomainSetMetadata", "virStorageVolCreateXML")
"""Those of them that change the host."""
KILLED = (-9, 137)

DISKS = """
disks:
  - size: 1GiB
  - {size: 1MiB, format: raw}
"""
Spec = Callable[..., Path]


def disks(host: Host) -> list[str]:
    return sorted(entry.name for entry in host.images.iterdir())


@contextmanager
def connection(host: Host) -> Iterator[libvirt.virConnect]:
    """From here, since it is asked often, and a process takes a hundred times as long."""
    connection = libvirt.open(host.outside_uri)
    try:
        yield connection
    finally:
        connection.close()


def vms(host: Host) -> list[str]:
    with connection(host) as here:
        return [domain.name() for domain in here.listAllDomains()]


def is_half_created(host: Host, name: str) -> bool:
    with connection(host) as here:
        return "kvmctl:creating" in here.lookupByName(name).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)


def whole(host: Host, name: str) -> None:
    """The VM is there with both its disks, its mark is gone, and it starts."""
    with connection(host) as here:
        domain = here.lookupByName(name)
        text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        assert "kvmctl:creating" not in text
        assert "kvmctl:spec" in text
        assert disks(host) == [f"{name}-vda.qcow2", f"{name}-vdb.raw"]
        domain.create()


def forget(host: Host, name: str) -> None:
    """The VM and its disks."""
    with connection(host) as here:
        domain = here.lookupByName(name)
        domain.destroy()
        domain.undefine()
        pool = here.storagePoolLookupByName("default")
        pool.refresh()
        for volume in pool.listAllVolumes():
            volume.delete()


def faulty(host: Host, spec: Path, kind: str, at: int, log: Path) -> Result:
    env = {
        "PYTHONPATH": f"{FAULTS}:{host.environment['PYTHONPATH']}",
        "FAULT": kind,
        "FAULT_AT": str(at),
        "FAULT_LOG": str(log),
    }
    log.write_text("")
    return host.kvmctl(["create", spec], exit=None, env=env)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["before", "after"])
def test_killed_at_any_call_the_next_run_finishes(host1: Host, guest_spec: Spec, tmp_path: Path, kind: str) -> None:
    """At the first, at every one that changes something, and at the last of those between that only look."""
    spec, log = guest_spec("web1", DISKS), tmp_path / "calls"
    assert faulty(host1, spec, "", 0, log).exit_code == 0
    host1.kvmctl("delete web1 --disks")
    calls = [line.split()[1] for line in log.read_text().splitlines()]
    deeds = [name.startswith(DEEDS) for name in calls] + [True]
    moments = [at for at in range(1, len(calls) + 1) if at == 1 or deeds[at - 1] or deeds[at]]
    assert len(moments) >= 8, log.read_text()
    for at in moments:
        assert faulty(host1, spec, kind, at, log).exit_code in KILLED, log.read_text()
        assert log.read_text().splitlines()[-1] == f"{at} {calls[at - 1]}"
        left = vms(host1)
        assert disks(host1) == [] or left == ["web1"], f"an orphan disk after {log.read_text()}"
        if left and is_half_created(host1, "web1"):
            assert host1.kvmctl("start web1 -o json", exit=5).json["error"]["code"] == "vm-half-created"
            host1.kvmctl(["create", spec])
        elif not left:
            host1.kvmctl(["create", spec])
        whole(host1, "web1")
        forget(host1, "web1")
        assert (vms(host1), disks(host1)) == ([], [])


def test_deleting_what_a_killed_create_left(host1: Host, guest_spec: Spec, tmp_path: Path) -> None:
    spec, log = guest_spec("web1", DISKS), tmp_path / "calls"
    faulty(host1, spec, "", 0, log)
    at = next(int(line.split()[0]) for line in log.read_text().splitlines() if "virDomainSetMetadata" in line)
    host1.kvmctl("delete web1 --disks")
    faulty(host1, spec, "before", at, log)
    assert disks(host1) == ["web1-vda.qcow2", "web1-vdb.raw"]
    host1.kvmctl("delete web1")
    assert (vms(host1), disks(host1)) == ([], [])


def test_a_failure_at_any_step_leaves_nothing(host1: Host, guest_spec: Spec, tmp_path: Path) -> None:
    spec, log = guest_spec("web1", DISKS + "autostart: true"), tmp_path / "calls"
    for at in range(1, STEPS):
        done = faulty(host1, spec, "error", at, log)
        if done.exit_code == 0:
            break
        assert done.exit_code == 1
        assert "error: web1: " in done.stderr
        assert (vms(host1), disks(host1)) == ([], []), log.read_text()
    assert at == 6, log.read_text()  # define, two disks, autostart, the mark


@pytest.mark.timeout(900)
def test_interrupted_at_any_call_nothing_is_left(host1: Host, guest_spec: Spec, tmp_path: Path) -> None:
    spec, log = guest_spec("web1", DISKS), tmp_path / "calls"
    undone = 0
    for at in range(1, STEPS):
        done = faulty(host1, spec, "interrupt", at, log)
        if done.exit_code == 0:
            break
        assert done.exit_code == 130
        assert "error: interrupted" in done.stderr
        assert (vms(host1), disks(host1)) == ([], []), log.read_text()
        undone += 1
    assert undone > 5


def test_a_start_that_fails_takes_all_back(host1: Host, guest_spec: Spec, tmp_path: Path) -> None:
    spec = guest_spec("web1", DISKS)
    spec.write_text(spec.read_text().replace("initrd: /", "initrd: /nowhere/"))
    done = host1.kvmctl(["create", spec, "--start"], exit=None)
    assert done.exit_code != 0
    assert "nowhere" in done.stderr
    assert (vms(host1), disks(host1)) == ([], [])


def test_a_full_file_system_is_said_and_leaves_nothing(host1: Host, guest_spec: Spec, tmp_path: Path) -> None:
    host1.run(["mkdir", "-p", "/var/lib/libvirt/small"])
    host1.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/var/lib/libvirt/small"])
    try:
        host1.run(["virsh", "pool-create-as", "small", "dir", "--target", "/var/lib/libvirt/small"])
        done = host1.kvmctl(["create", guest_spec("web1", "disks: [{size: 1GiB, pool: small}]")], exit=5)
        assert "no room" in done.stderr
        assert vms(host1) == []
        assert host1.run(["ls", "/var/lib/libvirt/small"]).stdout == ""
    finally:
        host1.run(["virsh", "pool-destroy", "small"], check=False)
        host1.run(["umount", "/var/lib/libvirt/small"])


def test_nothing_that_exists_is_overwritten(host1: Host, guest_spec: Spec) -> None:
    spec = guest_spec("web1", DISKS)
    (host1.images / "web1-vda.qcow2").write_text("precious")
    assert "web1-vda.qcow2 is there already" in host1.kvmctl(["create", spec], exit=6).stderr
    assert (host1.images / "web1-vda.qcow2").read_text() == "precious"
    assert vms(host1) == []
    (host1.images / "web1-vda.qcow2").unlink()
    host1.kvmctl(["create", spec])
    again = host1.kvmctl(["create", spec, "-o", "json"], exit=6)
    assert again.json["error"]["code"] == "vm-exists"
    whole(host1, "web1")


def test_two_creates_of_one_name_make_one_vm(host1: Host, guest_spec: Spec) -> None:
    spec = guest_spec("web1", DISKS)
    both = [host1.start_kvmctl(["create", spec]) for _ in range(2)]
    for process in both:
        process.communicate(timeout=LIMIT)
    assert sorted(process.returncode for process in both) == [0, 6]
    whole(host1, "web1")


def test_an_image_below_a_new_disk(host1: Host, guest_spec: Spec, tmp_path: Path) -> None:
    base = tmp_path / "base.img"
    host1.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "3G"])
    host1.kvmctl(["create", guest_spec("web1", f"disks: [{{image: {{path: {base}, format: qcow2}}}}]")])
    info = json.loads(
        host1.run(["qemu-img", "info", "-f", "qcow2", "--output=json", "/var/lib/libvirt/images/web1-vda.qcow2"]).stdout
    )
    assert (info["virtual-size"], info["full-backing-filename"], info["backing-filename-format"]) == (
        3 * 2**30,
        str(base),
        "qcow2",
    )
    missing = host1.kvmctl(["create", guest_spec("web2", "disks: [{image: /nowhere/x.qcow2, size: 1GiB}]")], exit=5)
    assert "/nowhere/x.qcow2" in missing.stderr
    assert vms(host1) == ["web1"]


@pytest.mark.parametrize("template", ["linux", "windows", "minimal", "kernel"])
def test_every_template_can_be_defined(host1: Host, tmp_path: Path, template: str) -> None:
    spec = tmp_path / "x1.yaml"
    spec.write_text(host1.kvmctl(["init", template, "--name", "x1"]).stdout)
    host1.kvmctl(["create", spec, "--set", "networks=[{user: true}]"])
    assert vms(host1) == ["x1"]
    host1.kvmctl("delete x1 --disks")
    assert (vms(host1), disks(host1)) == ([], [])


def test_several_at_once_and_one_that_fails(host1: Host, guest_spec: Spec) -> None:
    host1.kvmctl(["create", guest_spec("web2")])
    done = host1.kvmctl(
        ["create", guest_spec("web1"), guest_spec("web2"), guest_spec("web3"), "--start", "-o", "json"], exit=9
    )
    assert [vm["name"] for vm in done.json] == ["web1", "web2", "web3"]
    assert [vm.get("state") for vm in done.json] == ["running", None, "running"]
    assert done.json[1]["error"]["code"] == "vm-exists"
    assert "error: web2: " in done.stderr
    assert "error: 1 of 3 failed" in done.stderr


@pytest.mark.parametrize("template", ["linux", "windows", "kernel"])
def test_what_libvirt_echoes_makes_the_same_vm(host1: Host, tmp_path: Path, template: str) -> None:
    """Exported, deleted and made again, the VM is the same to the last attribute."""
    spec = tmp_path / "web1.yaml"
    spec.write_text(host1.kvmctl(["init", template, "--name", "web1"]).stdout)
    host1.kvmctl(["create", spec, "--set", "networks=[{user: true}]", "--set", "graphics=vnc"])
    before = host1.kvmctl("xml web1 --next-boot").stdout
    exported = spec.with_name("again.yaml")
    exported.write_text(host1.kvmctl("export web1").stdout)
    assert "raw_xml" in exported.read_text()
    host1.kvmctl("delete web1")
    host1.kvmctl(["create", exported])
    assert parts(host1.kvmctl("xml web1 --next-boot").stdout) == parts(before)
    host1.kvmctl("delete web1")
    exported.write_text(exported.read_text().partition("raw_xml: |")[0])
    host1.kvmctl(["create", exported])  # what the language has keys for is enough to make a VM like it


def parts(xml: str) -> list[str]:
    """The lines without our metadata, in no order: libvirt itself moves controllers about when it numbers them."""
    return sorted((xml.partition("<metadata")[0] + xml.partition("</metadata>")[2]).splitlines())


def test_overcommitting_is_said_and_costs_no_call(host1: Host, guest_spec: Spec, rpc_calls: Callable[..., Any]) -> None:
    spec = guest_spec("web1")
    said = host1.kvmctl(["create", spec, "--set", "cpu=64", "--set", "memory=900GiB"]).stderr
    assert "web1: cpu.count: 64 vCPUs are more than the host's" in said
    assert "web1: memory.size: 900GiB are asked for on the host, where there are" in said
    host1.kvmctl("delete web1")
    calls = [
        len(rpc_calls(["create", spec, "--set", f"name={name}", *more]))
        for name, *more in (
            ("web1",),
            ("web2", "--set", "cpu=64"),
        )
    ]
    assert calls[0] == calls[1]
