"""`kvmctl stop` on libvirt's test driver, whose guests shut down at once. Guests that do not are in tests/lab."""

from __future__ import annotations

import libvirt
import pytest

from tests.commands.conftest import HOST, Vms
from tests.conftest import InProcess


def test_stop(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", running=True)
    done = run("stop web1 -o json")
    assert done.json.pop("seconds") < 5
    assert done.json | {"seconds": 0} == {
        "name": "web1",
        "uuid": domain.UUIDString(),
        "state": "stopped",
        "host": HOST,
        "changed": True,
        "forced": False,
        "seconds": 0,
    }
    assert done.stderr.startswith("web1: stopped after ")
    assert vms.state("web1") == libvirt.VIR_DOMAIN_SHUTOFF


def test_one_that_is_stopped_already(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    vms.define("web2", running=True).managedSave()
    done = run("stop web1 web2 -o json")
    assert [(vm["state"], vm["changed"]) for vm in done.json] == [("stopped", False), ("saved", False)]
    assert sorted(done.stderr.splitlines()) == ["web1: already stopped", "web2: already stopped"]


def test_one_that_cannot_hear(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True).suspend()
    error = run("stop web1 -o json", exit=5).json["error"]
    assert error["code"] == "vm-not-running"
    assert error["message"] == "is paused (by a user): its guest cannot hear us"
    assert vms.state("web1") == libvirt.VIR_DOMAIN_PAUSED
    done = run("stop --force web1 -o json")
    assert (done.json["state"], done.json["forced"]) == ("stopped", True)
    assert done.stderr.startswith("web1: plug pulled after ")


def test_a_vm_without_a_definition(run: InProcess, vms: Vms) -> None:
    vms.transient("web1")
    assert run("stop web1 -o json").json["state"] == "stopped"
    assert run("stop web1", exit=3).exit_code == 3


def test_several(run: InProcess, vms: Vms) -> None:
    names = [f"web{number}" for number in range(12)]
    vms.define(*names, running=True)
    assert [vm["name"] for vm in run(["stop", *names, "-o", "json"]).json] == names
    assert run(["stop", "nosuch", *names], exit=9).stderr.count("already stopped") == 12


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_the_time_limit_is_a_time(run: InProcess, vms: Vms, seconds: str) -> None:
    assert run(f"stop web1 --timeout {seconds}", exit=2).stdout == ""
