"""kvmctl runs with a distribution's own Python and its packages, which are older than ours (Debian 12: Click 8.1)."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.conftest import OwnProcess
from tests.environment import ROOT

PYTHON = "/usr/bin/python3"
SPEC = "name: web1\naccelerator: tcg\nmemory: 64MiB\n"

pytestmark = pytest.mark.distribution


class Distribution(OwnProcess):
    """kvmctl in the distribution's Python."""

    python = PYTHON


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    wanted = "import click, libvirt, rich, yaml"
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", wanted], capture_output=True).returncode:
        pytest.skip(f"the distribution tier needs click, libvirt, rich and yaml for {PYTHON}")


@pytest.fixture
def run() -> Distribution:
    return Distribution()


@pytest.mark.parametrize(
    "command", ["--version", "--help", "start --help", "host --help", "schema", "init", "host list"]
)
def test_a_command_runs(run: Distribution, command: str) -> None:
    assert run(command).stdout


@pytest.mark.parametrize("command", ["", "host"])
def test_without_a_command_the_help_is_shown(run: Distribution, command: str) -> None:
    """Click 8.1 says so on stdout and is content, later ones on stderr and are not."""
    result = run(command, exit=None)
    assert result.exit_code in (0, 2)
    assert "Usage: kvmctl" in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["nosuch", "list --nosuch", "start"])
def test_a_wrong_command_line_is_a_usage_error(run: Distribution, command: str) -> None:
    assert run(f"-o json {command}", exit=2).json["error"]["code"] == "usage"


def test_a_vm_is_defined_started_looked_at_and_stopped(run: Distribution) -> None:
    """On libvirt's test driver, which forgets its VMs with the process; so each command stands alone."""
    host = "-H test:///default"
    assert [vm["name"] for vm in run(f"{host} list -o json").json] == ["test"]
    assert run(f"{host} show test -o json").json["state"] == "running"
    assert run(f"{host} stop test --force -o json").json["state"] == "stopped"
    assert "kvmctl" not in run(f"{host} export test").stderr


def test_a_table_on_a_terminal(run: Distribution) -> None:
    """With the distribution's rich, and what its colours depend on."""
    master, terminal = pty.openpty()
    with run.start("-H test:///default list", stdout=terminal, env={"TERM": "xterm"}) as process:
        os.close(terminal)
        assert process.wait(timeout=100) == 0
    shown = os.read(master, 4096).decode()
    os.close(master)
    assert "NAME" in shown
    assert "running" in shown


def test_specs_are_read(run: Distribution, tmp_path: Path) -> None:
    spec = tmp_path / "web1.yaml"
    spec.write_text(SPEC)
    run(["validate", spec])
    assert "<name>web1</name>" in run(["xml", "--offline", spec]).stdout
    spec.write_text(SPEC + "memroy: 1GiB\n")
    assert run(["validate", spec, "-o", "json"], exit=4).json["error"]["where"][0]["line"] == 4


def test_generated_files_are_the_same(tmp_path: Path) -> None:
    """No version of Click shows in them."""
    command = [PYTHON, "-m", "kvmctl.reflect", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, check=True)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert Path("man/kvmctl-start.1") in made
    for path, text in made.items():
        if path.parts[0] in ("man", "completions", "schema"):
            assert text == (ROOT / path).read_text(), path
