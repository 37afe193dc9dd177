"""`kvmctl restart`."""

from __future__ import annotations

import libvirt

from tests.commands.conftest import Vms
from tests.conftest import InProcess


def test_restart(run: InProcess, vms: Vms) -> None:
    before = vms.define("web1", running=True).ID()
    done = run("restart web1 -o json")
    assert (done.json["state"], done.json["changed"], done.json["forced"]) == ("running", True, False)
    assert vms.conn.lookupByName("web1").ID() != before
    assert done.stderr.startswith("web1: stopped after ")
    assert done.stderr.endswith(" s, and started\n")


def test_one_that_is_stopped(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    done = run("restart web1 -o json")
    assert (done.json["state"], done.json["changed"]) == ("running", True)
    assert done.stderr == "web1: was stopped, and started\n"


def test_one_that_cannot_hear(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True).suspend()
    assert run("restart web1 -o json", exit=5).json["error"]["code"] == "vm-not-running"
    assert run("restart web1 --force -o json").json["forced"] is True
    assert vms.state("web1") == libvirt.VIR_DOMAIN_RUNNING


def test_one_that_would_be_gone(run: InProcess, vms: Vms) -> None:
    vms.transient("web1")
    error = run("restart web1 -o json", exit=5).json["error"]
    assert error["code"] == "not-supported"
    assert vms.state("web1") == libvirt.VIR_DOMAIN_RUNNING, "refused before it is stopped"
