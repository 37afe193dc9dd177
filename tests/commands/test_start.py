"""`kvmctl start`, and what all verbs on VMs have in common."""

from __future__ import annotations

import libvirt
import pytest

from kvmctl.spec import metadata
from tests.commands.conftest import HOST, Vms
from tests.conftest import InProcess

HALF = f"<metadata><k:vm xmlns:k='{metadata.NAMESPACE}'><k:creating><k:disk path='/x'/></k:creating></k:vm></metadata>"
WHOLE = f"<metadata><k:vm xmlns:k='{metadata.NAMESPACE}'><k:spec>creating: &lt;creating&gt;</k:spec></k:vm></metadata>"


def test_start(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", more=WHOLE)
    done = run("start web1 -o json")
    assert done.json == {
        "name": "web1",
        "uuid": domain.UUIDString(),
        "state": "running",
        "host": HOST,
        "changed": True,
    }
    assert done.stderr == "web1: started\n"
    assert vms.state("web1") == libvirt.VIR_DOMAIN_RUNNING


def test_one_that_runs_already(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True)
    done = run("start web1 -o json")
    assert (done.json["state"], done.json["changed"]) == ("running", False)
    assert done.stderr == "web1: already running\n"
    assert run("start web1 -q").stderr == ""
    assert run("start web1 -o name").stdout == "web1\n"


def test_paused(run: InProcess, vms: Vms) -> None:
    """libvirt's test driver cannot start a VM paused; hosts with QEMU are in tests/lab."""
    domain = vms.define("web1")
    assert run("start web1 --paused -o json", exit=5).json["error"]["code"] == "not-supported"
    domain.create()
    domain.suspend()
    error = run("start web1 -o json", exit=5).json["error"]
    assert error["code"] == "vm-running"
    assert error["message"].startswith("is paused")
    assert error["hint"] == "kvmctl resume web1"


def test_a_half_created_vm(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=HALF)
    error = run("start web1 -o json", exit=5).json["error"]
    assert (error["code"], error["vm"]) == ("vm-half-created", "web1")
    assert vms.state("web1") == libvirt.VIR_DOMAIN_SHUTOFF


def test_by_uuid(run: InProcess, vms: Vms) -> None:
    uuid = vms.define("web1").UUIDString()
    assert run(["start", uuid.upper(), "-o", "json"]).json["name"] == "web1"
    # A VM may be called like a UUID, even like another's.
    vms.define("6695eb01-f6a4-8304-79aa-000000000000")
    assert run("start 6695eb01-f6a4-8304-79aa-000000000000 -o json").json["changed"] is True
    assert run("start 6695eb01-f6a4-8304-79aa-000000000001", exit=3).exit_code == 3


def test_several(run: InProcess, vms: Vms) -> None:
    vms.define("a", "c")
    vms.define("b", running=True)
    done = run("start c nosuch b a c -o json", exit=9)
    assert [(vm["name"], vm.get("changed")) for vm in done.json] == [
        ("c", True),
        ("nosuch", None),
        ("b", False),
        ("a", True),
    ]
    error = done.json[1]["error"]
    assert (error["code"], error["exit_code"], error["vm"]) == ("vm-not-found", 3, "nosuch")
    lines = done.stderr.splitlines()
    assert sorted(lines[:-1])[:3] == ["a: started", "b: already running", "c: started"]
    assert lines[-1] == "error: 1 of 4 failed"
    assert run("start a nosuch", exit=9).stdout == ""
    assert run("start a nosuch -o name", exit=9).stdout == "a\n"


def test_a_name_that_is_not_there(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    done = run("start web11", exit=3)
    assert done.stdout == ""
    assert done.stderr == f"error: web11: {HOST} has no VM of that name\nhint: did you mean 'web1'?\n"
    error = run("start web11 -o json", exit=3).json["error"]
    assert list(error) == ["code", "message", "hint", "exit_code", "vm"]


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1b[31mb", "../x", "a/b", "ü", "x" * 5000])
def test_strange_names_are_simply_not_found(run: InProcess, vms: Vms, name: str) -> None:
    done = run(["start", name], exit=3)
    assert "\x1b" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 2


def test_a_name_that_starts_with_a_dash(run: InProcess, vms: Vms) -> None:
    vms.define("-x")
    assert run(["start", "-x"], exit=2).stderr.startswith("error: ")
    assert run(["start", "-o", "json", "--", "-x"]).json["state"] == "running"


def test_no_name_is_a_mistake(run: InProcess) -> None:
    assert "Missing argument" in run("start", exit=2).stderr


def test_one_host_at_a_time(run: InProcess, vms: Vms) -> None:
    error = run(f"start test -H {HOST} -H test:///other -o json", exit=2).json["error"]
    assert error["code"] == "usage"
