"""`kvmctl autostart`."""

from __future__ import annotations

from tests.commands.conftest import Vms
from tests.conftest import InProcess


def test_on_and_off(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1")
    done = run("autostart web1 -o json")
    assert (done.json["autostart"], done.json["changed"], done.json["state"]) == (True, True, "stopped")
    assert done.stderr == "web1: starts with the host\n"
    assert domain.autostart() == 1
    assert run("autostart web1").stderr == "web1: starts with the host, as before\n"
    done = run("autostart web1 --off -o json")
    assert (done.json["autostart"], done.json["changed"]) == (False, True)
    assert domain.autostart() == 0
    assert run("autostart --off web1 -o json").json["changed"] is False


def test_a_vm_without_a_definition(run: InProcess, vms: Vms) -> None:
    vms.transient("web1")
    assert run("autostart web1", exit=5).stderr.startswith("error: web1: ")
