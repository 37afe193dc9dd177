"""kvmctl starts in a blink: what is not needed is not imported. And what needs no libvirt works without it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import OwnProcess
from tests.environment import ROOT

HEAVY = {
    "libvirt",
    "rich",
    "yaml",
    "json",
    "xml",
    "dataclasses",
    "subprocess",
    "logging",
    "importlib.metadata",
    "pathlib",
}
"""Packages and modules that cost more than a millisecond, or that open something."""

OFFLINE = ["--version", "--help", "-h", "start --help", "host --help", "host list --help", "schema", "init"]
"""Commands that need no libvirt, as they are called."""


def imported(*arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """All modules that Python imports while it runs."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **(env or {})}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = (line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {cells[2].strip() for cells in lines if len(cells) == 3}


def heavy(modules: set[str], beyond: set[str]) -> set[str]:
    """Those of the modules that are heavy, and not imported in any case."""
    return {name for name in modules - beyond if name in HEAVY or name.partition(".")[0] in HEAVY}


@pytest.fixture(scope="module")
def click_alone() -> set[str]:
    return imported("-c", "import click, click.shell_completion")


def test_the_test_can_fail(click_alone: set[str]) -> None:
    assert "json" in heavy(imported("-c", "import json, xml.etree.ElementTree"), click_alone)


@pytest.mark.parametrize("arguments", ["--version", "--help", "host --help"])
def test_help_and_version_import_nothing_heavy(arguments: str, click_alone: set[str]) -> None:
    found = imported("-m", "kvmctl", *arguments.split())
    assert not heavy(found, click_alone)
    own = {name for name in found if name.startswith(("kvmctl.host", "kvmctl.spec", "kvmctl.plan"))}
    assert not own


@pytest.mark.parametrize("line", ["kvmctl ", "kvmctl st", "kvmctl host ", "kvmctl --out", "kvmctl -o "])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_names_imports_nothing_heavy(shell: str, line: str, click_alone: set[str]) -> None:
    found = imported("-m", "kvmctl", env={"_KVMCTL_COMPLETE": f"{shell}_complete", "_KVMCTL_LINE": line})
    assert not heavy(found, click_alone)
    commands = {name for name in found if name.startswith("kvmctl.commands.")} - {"kvmctl.commands.host"}
    assert not commands, "a command was imported although only its name is completed"


def test_list_imports_only_what_it_needs(click_alone: set[str]) -> None:
    needed = click_alone | imported("-c", "import libvirt, threading, queue")
    assert not heavy(imported("-m", "kvmctl", "-H", "test:///default", "list"), needed)


def test_completion_of_vm_names_imports_only_what_it_needs(click_alone: set[str], tmp_path: Path) -> None:
    needed = click_alone | imported("-c", "import libvirt, threading")
    line = "kvmctl -H test:///default start "
    found = imported("-m", "kvmctl", env={"_KVMCTL_COMPLETE": "bash_complete", "_KVMCTL_LINE": line})
    assert "libvirt" in found
    assert not heavy(found, needed)


@pytest.fixture(params=["ModuleNotFoundError(name, name='libvirt')", "ImportError('libvirt.so.0: no such file')"])
def without_libvirt(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """An environment whose Python finds no libvirt module, or a broken one."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "libvirt.py").write_text(f"name = \"No module named 'libvirt'\"\nraise {request.param}\n")
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


@pytest.mark.parametrize("command", OFFLINE)
def test_what_needs_no_libvirt_works_without(
    command: str, without_libvirt: dict[str, str], run_process: OwnProcess
) -> None:
    assert run_process(command, env=without_libvirt).stdout


def test_specs_are_checked_and_turned_into_xml_without_libvirt(
    without_libvirt: dict[str, str], run_process: OwnProcess, tmp_path: Path
) -> None:
    spec = tmp_path / "web1.yaml"
    spec.write_text("name: web1\nmemory: 64MiB\naccelerator: tcg\n")
    run_process(["validate", spec], env=without_libvirt)
    assert "<name>web1</name>" in run_process(["xml", "--offline", spec], env=without_libvirt).stdout


def test_what_needs_libvirt_says_what_to_install(without_libvirt: dict[str, str], run_process: OwnProcess) -> None:
    result = run_process("-H test:///default list -o json", env=without_libvirt, exit=1)
    assert result.json["error"]["code"] == "libvirt-missing"
    for package in ("python3-libvirt", "libvirt-python"):
        assert package in result.stderr
    for system in ("Debian", "Fedora", "Arch"):
        assert system in result.stderr
