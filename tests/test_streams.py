"""stdout, stderr and stdin that are closed, full or read no longer."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

COMMANDS = ["list", "show test", "schema", "--help", "--version", "xml test", "list -o json"]


def shell(script: str) -> subprocess.CompletedProcess[str]:
    kvmctl = f"{sys.executable} -m kvmctl -H test:///default"
    script = script.replace("kvmctl", kvmctl)
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_read_enough_is_no_error(environment: Any, command: str) -> None:
    done = shell(f"kvmctl {command} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("command", ["list", "show test", "schema", "list -o json", "xml test"])
def test_a_full_disk_is_said(environment: Any, command: str) -> None:
    done = shell(f"kvmctl {command} > /dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(environment: Any, closed: str) -> None:
    done = shell(f"kvmctl list {closed}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_errors_reach_a_program_that_reads_json_even_without_stderr(environment: Any) -> None:
    done = shell("kvmctl show nope -o json 2>&-; echo $?")
    assert '"code": "vm-not-found"' in done.stdout
    assert done.stdout.endswith("\n3\n")
