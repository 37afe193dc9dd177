"""`kvmctl pause`, `kvmctl resume` and `kvmctl reset`."""

from __future__ import annotations

import libvirt
import pytest

from tests.commands.conftest import HOST, Vms
from tests.conftest import InProcess


def test_pause_and_resume(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", running=True)
    done = run("pause web1 -o json")
    assert done.json == {"name": "web1", "uuid": domain.UUIDString(), "state": "paused", "host": HOST, "changed": True}
    assert done.stderr == "web1: paused\n"
    assert vms.state("web1") == libvirt.VIR_DOMAIN_PAUSED
    again = run("pause web1 -o json")
    assert again.json == done.json | {"changed": False}
    assert again.stderr == "web1: already paused\n"
    done = run("resume web1 -o json")
    assert (done.json["state"], done.json["changed"], done.stderr) == ("running", True, "web1: resumed\n")
    assert vms.state("web1") == libvirt.VIR_DOMAIN_RUNNING
    assert run("resume web1").stderr == "web1: already running\n"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_one_that_is_stopped(run: InProcess, vms: Vms, verb: str) -> None:
    vms.define("web1")
    done = run(f"{verb} web1", exit=5)
    assert done.stderr == "error: web1: is not running\nhint: kvmctl start web1\n"
    assert run(f"{verb} web1 -o json", exit=5).json["error"]["code"] == "vm-not-running"


@pytest.mark.parametrize("verb", ["pause", "resume", "reset"])
def test_one_that_is_not_there(run: InProcess, vms: Vms, verb: str) -> None:
    assert run(f"{verb} nosuch -o json", exit=3).json["error"]["code"] == "vm-not-found"


def test_a_host_that_cannot_reset(run: InProcess, vms: Vms) -> None:
    """libvirt's test driver has no reset button; hosts with QEMU are in tests/lab."""
    vms.define("web1", running=True)
    done = run("reset web1 -o json", exit=None)
    assert done.exit_code in (0, 5)
    assert done.exit_code == 0 or done.json["error"]["code"] == "not-supported"


def test_several(run: InProcess, vms: Vms) -> None:
    vms.define("web1", "web2", running=True)
    vms.define("web3")
    done = run("pause web1 web2 web3 -o json", exit=9)
    assert [vm.get("state") for vm in done.json] == ["paused", "paused", None]
    assert "1 of 3 failed" in done.stderr
