"""`kvmctl console` where there is none to connect to. With real guests: tests/lab/test_console.py."""

from __future__ import annotations

import pytest

from tests.commands.conftest import Vms
from tests.conftest import InProcess, OwnProcess

SERIAL = "<devices><serial type='{kind}'>{source}</serial></devices>"


def test_no_such_vm(run: InProcess, vms: Vms) -> None:
    assert run("console nothing -o json", exit=3).json["error"]["code"] == "vm-not-found"


def test_a_vm_that_is_not_running(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=SERIAL.format(kind="pty", source=""))
    done = run("console web1 -o json", exit=5)
    assert done.json["error"]["code"] == "vm-not-running"
    assert done.json["error"]["hint"] == "kvmctl start web1"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", "it has no serial console"),
        (SERIAL.format(kind="file", source="<source path='/log'/>"), "goes elsewhere (file)"),
    ],
)
def test_a_vm_without_a_console(run: InProcess, vms: Vms, more: str, said: str) -> None:
    vms.define("web1", running=True, more=more)
    error = run("console web1 -o json", exit=3).json["error"]
    assert error["code"] == "no-console"
    assert said in error["message"]
    assert "serial: true" in error["hint"]


def test_wrong_options(run: InProcess, vms: Vms) -> None:
    assert run("console web1 --linger -1", exit=2).stdout == ""
    assert run("console", exit=2).stdout == ""
    assert run("console a b", exit=2).stdout == ""


def test_nothing_is_said_on_stdout(run_process: OwnProcess) -> None:
    done = run_process("console -H test:///default test", exit=3)
    assert done.stdout == ""
    assert "no serial console" in done.stderr
