"""Connections: every attempt has an end, nothing is left behind, and nothing asks where nobody can answer."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from kvmctl.errors import HostUnreachable, Interrupted, UsageError
from kvmctl.host import ssh
from kvmctl.host.connection import connect
from kvmctl.host.domains import find, list_vms
from kvmctl.host.targets import Target
from kvmctl.parallel import Work
from tests.conftest import OwnProcess
from tests.lab.waiting import LIMIT, until

HANGING_SSH = """\
#!/bin/bash
echo "$$ $@" >> "{log}"
exec -a ssh {python} -c 'import time; time.sleep(1000)' "$@"
"""


def target(uri: str) -> Target:
    return Target(uri, uri)


@pytest.fixture
def silent() -> Iterator[str]:
    """The URI of a host that takes the call and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"qemu+tcp://127.0.0.1:{server.getsockname()[1]}/system"


def test_a_host_that_never_answers(silent: str) -> None:
    started = time.monotonic()
    with pytest.raises(HostUnreachable) as caught, connect(target(silent), timeout=0.5):
        pass
    assert (caught.value.code, caught.value.message) == ("host-unreachable", f"{silent}: no answer within 0.5 s")
    assert time.monotonic() - started < 12


def test_an_attempt_can_be_cancelled(silent: str) -> None:
    work = Work(60, threading.Event())
    threading.Timer(0.3, work.cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted), connect(target(silent), work=work):
        pass
    assert time.monotonic() - started < 12


def until_it_speaks(pid: int) -> None:
    """Come back when a command has begun to call the host."""
    until(lambda: b"libvirt.so" in Path(f"/proc/{pid}/maps").read_bytes(), "libvirt is loaded")
    time.sleep(0.5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["list", "start web1", "stop web1"])
def test_a_signal_ends_it(run_process: OwnProcess, silent: str, command: str, number: int) -> None:
    process = run_process.start(f"-H {silent} {command}")
    until_it_speaks(process.pid)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, stderr
    assert stdout == b""
    assert stderr.decode().splitlines()[-1] == "error: interrupted"


def test_nohup_is_respected(run_process: OwnProcess, silent: str) -> None:
    process = run_process.start(
        f"-H {silent} list --timeout 4", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    until_it_speaks(process.pid)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 7


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"qemu+tcp://127.0.0.1:{server.getsockname()[1]}/system"
    with pytest.raises(HostUnreachable, match="Connection refused"), connect(target(uri)):
        pass


def test_a_uri_that_libvirt_does_not_know() -> None:
    with pytest.raises((UsageError, HostUnreachable)) as caught, connect(target("nosuchdriver:///x")):
        pass
    assert caught.value.hint


def test_what_libvirt_says_inside_is_translated() -> None:
    error = libvirt.libvirtError("x")
    error.err = (38, 7, "End of file while reading data: Input/output error", 2, None, None, None, 0, 0)
    with pytest.raises(HostUnreachable, match="lost"), connect(target("test:///default")):
        raise error


@pytest.mark.parametrize("events", [False, True])
def test_a_host(events: bool) -> None:
    with connect(target("test:///default"), events=events) as host:
        host.check_alive()
        assert host.name == "test:///default"
        [vm] = [vm for vm in list_vms(host) if vm["name"] == "test"]
        assert vm["state"] in ("running", "stopped")
        assert find(host, vm["uuid"]).name() == "test"


def test_libvirt_says_nothing_on_the_screen(run_process: OwnProcess) -> None:
    done = run_process("-H test:///default show nosuch", exit=3)
    assert "libvirt" not in done.stderr
    assert done.stderr.startswith("error: nosuch: ")


# -- ssh -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hanging_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that never comes back; the file it writes its process id and its arguments to."""
    log = tmp_path / "ssh.log"
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(HANGING_SSH.format(log=log, python=os.path.realpath(sys.executable)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_ssh_that_hangs_does_not_outlive_us(hanging_ssh: Path) -> None:
    with pytest.raises(HostUnreachable, match="no answer"), connect(target("qemu+ssh://jo@far:22/system"), timeout=3):
        pass
    pid, _, arguments = hanging_ssh.read_text().partition(" ")
    until(lambda: not lives(int(pid)), f"the end of ssh {arguments}")


def test_ssh_asks_nothing_where_nobody_can_answer(run_process: OwnProcess, hanging_ssh: Path) -> None:
    process = run_process.start("-H qemu+ssh://jo@far/system list")
    until(lambda: hanging_ssh.exists() and "\n" in hanging_ssh.read_text(), "ssh runs")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    pid, _, arguments = hanging_ssh.read_text().partition(" ")
    assert "BatchMode=yes" in arguments
    assert "StrictHostKeyChecking" not in arguments
    until(lambda: not lives(int(pid)), "the end of ssh")


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("qemu+ssh://h/system", "qemu+ssh://h/system?no_tty=1"),
        ("qemu+ssh://h/system?keyfile=/k", "qemu+ssh://h/system?keyfile=/k&no_tty=1"),
        ("qemu+ssh://h/system?no_tty=0", "qemu+ssh://h/system?no_tty=0"),
    ],
)
def test_how_ssh_is_told(uri: str, told: str) -> None:
    assert ssh.without_prompts(uri) == told
