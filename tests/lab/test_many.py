"""Several VMs and several commands at once, and one that hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.lab.waiting import LIMIT

EMPTY = "name: {name}\naccelerator: tcg\ncpu: 1\nmemory: 16MiB\n"
"""A VM that finds nothing to boot: it costs next to nothing."""


@pytest.fixture
def empty_specs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"vm{number}.yaml" for number in range(10)]
    for path in paths:
        path.write_text(EMPTY.format(name=path.stem))
    return paths


def test_ten_vms_in_one_call(host1: Host, empty_specs: list[Path]) -> None:
    names = [path.stem for path in empty_specs]
    created = host1.kvmctl(["create", *empty_specs, "--start", "-o", "json"]).json
    assert [(vm["name"], vm["state"]) for vm in created] == [(name, "running") for name in names]
    stopped = host1.kvmctl(["stop", "--force", "--timeout", "1", *names, "-o", "json"]).json
    assert [(vm["name"], vm["state"]) for vm in stopped] == [(name, "stopped") for name in names]
    assert host1.kvmctl(["delete", *names, "nosuch"], exit=9).stderr.count("deleted") == len(names)
    assert host1.kvmctl("list -o name").stdout == ""


def test_a_hung_qemu_delays_nobody_else(host1: Host, empty_specs: list[Path]) -> None:
    host1.kvmctl(["create", *empty_specs, "--start"])

    def seconds(command: str) -> float:
        started = time.monotonic()
        host1.kvmctl(command)
        return time.monotonic() - started

    commands = ("list", "list -o wide", "show vm1", "show vm1 -o json")
    before = {command: seconds(command) for command in commands}
    os.kill(host1.qemu_pid("vm0"), signal.SIGSTOP)
    for command in commands:
        assert seconds(command) < 5 * before[command] + 20, command  # libvirt itself waits for 30
    shown = host1.kvmctl("show vm0 -o json", exit=None)
    assert shown.exit_code in (0, 8), shown


@pytest.mark.parametrize("command", ["list -o json", "create {spec}", "show first -o json"])
def test_two_commands_at_once_on_the_embedded_host(
    host1: Host, guest_spec: Callable[..., Path], tmp_path: Path, command: str
) -> None:
    host1.kvmctl(f"-H embedded create {guest_spec('first')} --start")
    specs = [guest_spec(name) for name in ("one", "two", "three")]
    processes = [host1.start_kvmctl(f"-H embedded {command.format(spec=spec)}") for spec in specs]
    for process in processes:
        _, stderr = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, stderr.decode()
    names = host1.kvmctl("-H embedded list -o name").stdout.split()
    assert set(names) == ({"first", "one", "two", "three"} if "create" in command else {"first"})
    assert host1.qemus().keys() == {"first"}
