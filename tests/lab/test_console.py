"""`kvmctl console` with real guests whose shell is on the serial line."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.lab.guest import UP
from tests.lab.hosts import Host, inner, kill_inner
from tests.lab.waiting import LIMIT, until, until_said
from tests.person import Person
from tests.results import Result

WHERE = {"local": "qemu:///system", "tcp": "host2", "embedded": "embedded"}


class Vm:
    """A guest that is up, on one kind of host; kvmctl is called on host1."""

    def __init__(self, host1: Host, uri: str) -> None:
        self.host = host1
        self.uri = uri
        self.consoles: list[subprocess.Popen[bytes]] = []

    def __call__(self, command: str, **options: Any) -> Result:
        return self.host.kvmctl(f"--host {self.uri} {command}", **options)

    def console(self, person: Person, *options: str) -> subprocess.Popen[bytes]:
        """A console on this person's terminal, once it is connected."""
        process = self.start(*options, stdin=person.terminal, stdout=person.terminal, stderr=person.terminal)
        person.sees("Connected to web1; press ^] to leave")
        person.waits_until_raw()
        return process

    def start(self, *options: str, name: str = "web1", **streams: Any) -> subprocess.Popen[bytes]:
        process = self.host.start_kvmctl(["--host", self.uri, "console", name, *options], **streams)
        self.consoles.append(process)
        return process

    def close(self) -> None:
        for process in self.consoles:
            if process.poll() is None:
                kill_inner(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
            process.wait(LIMIT)


@pytest.fixture(params=WHERE)
def vm(
    request: pytest.FixtureRequest, host1: Host, host2: Host, guest_spec: Callable[..., Path], tmp_path: Path
) -> Iterator[Vm]:
    vm = Vm(host1, WHERE[request.param])
    vm(f"create {guest_spec('web1')} --start")
    until_said(tmp_path / "web1.log", UP)
    yield vm
    vm.close()
    vm("delete web1 --force", exit=None)


@pytest.fixture
def local(host1: Host, guest_spec: Callable[..., Path], tmp_path: Path) -> Iterator[Vm]:
    vm = Vm(host1, WHERE["local"])
    vm(f"create {guest_spec('web1')} --start")
    until_said(tmp_path / "web1.log", UP)
    yield vm
    vm.close()


def answers(vm: Vm, command: str, answer: str, *, name: str = "web1") -> None:
    """The same for a script, which goes when it has what it wants."""
    process = vm.start("--linger", "inf", name=name)
    assert process.stdin is not None
    process.stdin.write(f"{command}\n".encode())
    process.stdin.flush()
    reads(process, answer)
    os.kill(inner(process), signal.SIGTERM)
    process.wait(LIMIT)


def reads(process: subprocess.Popen[bytes], text: str) -> bytes:
    """What a console without a terminal shows until this is shown."""
    assert process.stdout is not None
    seen = b""
    while text.encode() not in seen:
        piece = os.read(process.stdout.fileno(), 65536)
        assert piece, (seen[-500:], process.stderr and process.stderr.read())
        seen += piece
    return seen


def asks(person: Person, command: str, answer: str) -> None:
    """The guest answers a command. It may ask the terminal where its cursor is before it reads on."""
    person.type(f"{command}\n")
    person.sees(answer)


def test_a_person_works_on_the_console_and_leaves(vm: Vm) -> None:
    with Person() as person:
        before = person.modes
        process = vm.console(person)
        asks(person, "echo $((6*7))-guests", "42-guests")
        person.sees("guest# ")
        person.type("echo on; cat\n")
        person.sees("on\r\n")
        person.type("hello\n")
        person.sees("hello\r\nhello\r\n")
        person.type("\x03")
        person.sees("guest# ")
        asks(person, "echo still $((40+2))", "still 42")
        assert vm("list -o json").json[0]["state"] == "running", "others may use the host meanwhile"
        person.type("\x1d")
        assert process.wait(LIMIT) == 0
        person.sees("web1: left the console")
        assert person.modes == before
    answers(vm, "echo left $((40+2))", "left 42")


def test_a_script_gets_the_answer(vm: Vm) -> None:
    done = vm("console web1 --linger 5", input="echo $((6*7))-first; sleep 0.5; echo $((6*7))-second\n")
    assert "42-first" in done.stdout
    assert "42-second" in done.stdout
    assert [line for line in done.stderr.splitlines() if not line.startswith("warning: ")] == []


def test_it_ends_when_the_guest_powers_off(vm: Vm, tmp_path: Path) -> None:
    with Person() as person:
        before = person.modes
        process = vm.console(person)
        person.type("poweroff -f\n")
        # What the guest says last may be lost: libvirt ends the line together with the guest.
        person.sees("web1 ended: shut down")
        assert process.wait(LIMIT) == 0
        assert person.modes == before
    assert vm("list -o json").json[0]["state"] == "stopped"


def test_it_ends_when_the_plug_is_pulled(vm: Vm) -> None:
    process = vm.start("--linger", "inf", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"echo $((6*7))-ready\n")
    process.stdin.flush()
    reads(process, "42-ready")
    vm("pause web1")
    vm("stop web1 --force --timeout 1")
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    # The embedded host forgets the reason when another command takes it over.
    assert said.splitlines()[-1] in (b"web1 ended: forced off", b"web1 ended")


def test_a_console_is_one_client_s(vm: Vm) -> None:
    with Person() as first, Person() as second:
        before = first.modes
        process = vm.console(first)
        refused = vm("console web1 -o json", exit=5).json["error"]
        assert (refused["code"], refused["hint"]) == ("console-busy", "kvmctl console web1 --force")
        asks(first, "echo $((6*7))-here", "42-here")

        other = vm.console(second, "--force")
        first.sees("another client took its console over")
        assert process.wait(LIMIT) == 5
        assert first.modes == before
        asks(second, "echo $((6*7))-there", "42-there")
        second.type("\x1d")
        assert other.wait(LIMIT) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_puts_the_terminal_back(local: Vm, number: signal.Signals) -> None:
    with Person() as person:
        before = person.modes
        process = local.console(person)
        os.kill(inner(process), number)
        process.wait(LIMIT)
        assert person.modes == before
    answers(local, "echo $((6*7))-free", "42-free")  # the console is free again


def test_ctrl_c_of_a_script_ends_it(local: Vm) -> None:
    process = local.start("--linger", "inf", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    os.read(process.stdout.fileno(), 10)
    os.kill(inner(process), signal.SIGINT)
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert b"interrupted" in said


@pytest.mark.parametrize("vm", ["local", "embedded"], indirect=True)
def test_the_time_limit(vm: Vm) -> None:
    process = vm.start("--timeout", "2", stdin=subprocess.PIPE)
    _, said = _wait(process)
    assert process.returncode == 8
    assert b"--timeout" in said


def _wait(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What it said to its end, without closing its input."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.wait(LIMIT)
    return process.stdout.read(), process.stderr.read()


def test_nobody_reads_on(local: Vm) -> None:
    said = local.host.run(
        [
            "sh",
            "-c",
            "yes | python -m kvmctl -H qemu:///system console web1 --linger inf | head -c 20; echo end",
        ],
        timeout=LIMIT,
        env={"PATH": _path(local)},
    )
    assert said.stdout.endswith("end\n")


def _path(vm: Vm) -> str:
    return f"{Path(sys.executable).parent}:{vm.host.environment['PATH']}"


def test_no_output_is_lost(local: Vm) -> None:
    """As fast as the guest's serial port goes, while nobody takes it for a while."""
    count = 400_000
    command = f"head -c {count} /dev/zero | tr '\\0' x; echo; echo $((6*7))-done\n"
    process = local.start("--linger", "20", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(command.encode())
    process.stdin.close()
    time.sleep(1)
    seen = reads(process, "42-done")
    process.stdout.close()
    process.wait(LIMIT)
    answer = seen.partition(b"-done\r\n")[2] or seen
    assert answer.count(b"x" * count) == 1


@pytest.mark.parametrize("vm", ["local", "embedded"], indirect=True)
def test_a_big_paste_is_not_lost(vm: Vm) -> None:
    """Far more than the guest's serial port and all that is before it can hold."""
    pasted = b"".join(b"%07d\n" % number for number in range(25_000))
    process = vm.start("--linger", "20", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(
        f"stty -echo -icanon; echo $((6*7))-go; head -c {len(pasted)} | md5sum; echo $((6*7))-done; exit\n".encode()
    )
    process.stdin.flush()
    seen = reads(process, "42-go")
    threading.Thread(target=process.stdin.write, args=(pasted,), daemon=True).start()
    seen += reads(process, "42-done")
    assert hashlib.md5(pasted).hexdigest().encode() in seen


def test_the_daemon_dies(local: Vm) -> None:
    with Person() as person:
        before = person.modes
        process = local.console(person)
        local.host.stop_libvirtd(signal.SIGKILL)
        assert process.wait(LIMIT) == 7
        person.sees("the connection to the host was lost")
        assert person.modes == before


def test_a_guest_on_a_paused_vm_goes_on_later(local: Vm) -> None:
    with Person() as person:
        process = local.console(person)
        local("pause web1")
        person.type("echo $((6*7))-late\n")
        time.sleep(0.5)
        local("resume web1")
        person.sees("42-late")
        person.type("\x1d")
        assert process.wait(LIMIT) == 0


def test_by_uuid_over_ssh(host1: Host, host2: Host, guest_spec: Callable[..., Path], tmp_path: Path) -> None:
    vm = Vm(host1, "host2-ssh")
    uuid = vm(f"create {guest_spec('web1')} --start -o json").json["uuid"]
    until_said(tmp_path / "web1.log", UP)
    answers(vm, "echo $((6*7))-ssh", "42-ssh", name=uuid)
    vm.close()


def test_nothing_of_an_embedded_console_is_left(host1: Host, guest_spec: Callable[..., Path], tmp_path: Path) -> None:
    vm = Vm(host1, "embedded")
    vm(f"create {guest_spec('web1')} --start")
    until_said(tmp_path / "web1.log", UP)
    process = vm.start(stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"echo $((6*7))-here\n")
    process.stdin.flush()
    reads(process, "42-here")
    os.kill(inner(process), signal.SIGKILL)
    process.wait(LIMIT)
    until(
        lambda: not [arguments for _, _, arguments in host1.processes() if "kvmctl.runner" in " ".join(arguments)],
        "the helper process ends",
    )
    vm.close()
    vm("delete web1 --force")
