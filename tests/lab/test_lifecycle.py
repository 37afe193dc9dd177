"""Starting, stopping and waiting on real hosts: what guests do, what daemons do, and how many calls it takes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from tests import sectors
from tests.lab.calls import SHUTDOWN, SUBSCRIBE, logging, sent
from tests.lab.hosts import Host, inner
from tests.lab.waiting import LIMIT, until

Make = Callable[..., None]
Waiting = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def make(host1: Host, tmp_path: Path) -> Make:
    """`make("web1", "obedient")`: a running VM whose guest is up."""

    def create(name: str, kind: str, *, start: bool = True) -> None:
        host1.kvmctl(["create", sectors.spec(tmp_path, name, kind), *(["--start"] if start else [])])
        if start:
            sectors.until_up(tmp_path, name)

    return create


@pytest.fixture
def waiting(host1: Host, tmp_path: Path) -> Waiting:
    """`waiting("wait web1 --for stopped")`: the command, running, once it has asked for events, or a guest to stop."""

    def start(command: str) -> subprocess.Popen[bytes]:
        log = tmp_path / "waiting.log"
        log.unlink(missing_ok=True)
        process = host1.start_kvmctl(command, env=logging(log))
        asked = SHUTDOWN if command.startswith("stop") else SUBSCRIBE
        until(lambda: asked in sent(log), f"{command} has called {asked}")
        return process

    return start


@pytest.mark.parametrize("way", ["local", "tcp", "ssh"])
def test_the_life_of_a_vm(host1: Host, host2: Host, make: Make, tmp_path: Path, way: str) -> None:
    make("web1", "obedient", start=False)
    caller = host1 if way == "local" else host2
    host = {"local": "qemu:///system", "tcp": host1.uri, "ssh": host1.ssh_uri}[way]

    def kvmctl(command: str, exit: int = 0) -> dict[str, object]:
        answer: dict[str, object] = caller.kvmctl(f"-H {host} {command} -o json", exit=exit).json
        return answer

    started = kvmctl("start web1")
    assert (started["state"], started["changed"], started["host"]) == ("running", True, host)
    assert kvmctl("start web1")["changed"] is False
    sectors.until_up(tmp_path, "web1")
    pid = host1.qemu_pid("web1")
    assert kvmctl("pause web1")["state"] == "paused"
    assert kvmctl("resume web1")["state"] == "running"
    assert kvmctl("reset web1")["state"] == "running"
    assert host1.qemu_pid("web1") == pid
    sectors.until_up(tmp_path, "web1", times=2)
    restarted = kvmctl("restart web1")
    assert (restarted["state"], restarted["was_running"], restarted["forced"]) == ("running", True, False)
    assert host1.qemu_pid("web1") != pid
    sectors.until_up(tmp_path, "web1")
    stopped = kvmctl("stop web1")
    assert (stopped["state"], stopped["changed"], stopped["forced"]) == ("stopped", True, False)
    assert host1.qemus() == {}
    assert kvmctl("start web1 --paused")["state"] == "paused"
    assert kvmctl("stop web1", exit=5)["error"]["code"] == "vm-not-running"  # type: ignore[index]
    assert kvmctl("stop web1 --force")["forced"] is True
    assert kvmctl("autostart web1")["autostart"] is True
    assert kvmctl("autostart web1 --off")["changed"] is True
    assert kvmctl("reset web1", exit=5)["error"]["code"] == "vm-not-running"  # type: ignore[index]


def test_a_guest_that_does_not_hear(host1: Host, make: Make) -> None:
    make("deaf", "deaf")
    error = host1.kvmctl("stop deaf --timeout 1 -o json", exit=8).json["error"]
    assert error["code"] == "timed-out"
    assert error["message"] == "was asked to shut down, and is still running after 1 s"
    assert "deaf" in host1.qemus()
    done = host1.kvmctl("stop deaf --timeout 1 --force -o json")
    assert done.json["forced"] is True
    assert done.json["seconds"] > 0.5
    assert host1.qemus() == {}


def test_several_guests(host1: Host, make: Make) -> None:
    make("web1", "obedient")
    make("web2", "obedient")
    make("deaf", "deaf")
    done = host1.kvmctl("stop web1 deaf web2 --timeout 5 -o json", exit=9)
    assert [vm.get("state") for vm in done.json] == ["stopped", None, "stopped"]
    assert done.json[1]["error"]["exit_code"] == 8
    assert host1.qemus().keys() == {"deaf"}


def test_calls(host1: Host, make: Make, rpc_calls: Callable[..., list[int]]) -> None:
    make("web1", "obedient", start=False)
    make("deaf", "deaf")
    assert len(rpc_calls("start web1")) <= 9
    assert len(rpc_calls("start web1")) <= 9
    assert len(rpc_calls("stop --force --timeout 1 deaf")) <= 9
    assert len(rpc_calls("stop deaf")) <= 9
    waited = rpc_calls("wait web1 --for stopped --timeout 3", exit=8)
    assert len(waited) <= 9, "it waits for an event, and asks nothing meanwhile"


def test_what_is_waited_for_comes_as_an_event(host1: Host, make: Make, waiting: Waiting) -> None:
    """Nobody waits for longer than the test does."""
    make("web1", "deaf")
    process = waiting("wait web1 --for stopped --timeout 1000 -o json")
    os.kill(host1.qemu_pid("web1"), signal.SIGKILL)
    stdout, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, stdout
    process = waiting("wait web1 --for running --timeout 1000 -o json")
    host1.kvmctl("start web1")
    stdout, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, stdout


@pytest.mark.parametrize("command", ["wait deaf --for stopped", "stop deaf", "wait deaf web1 --for stopped"])
def test_the_daemon_dies_while_one_waits(host1: Host, make: Make, waiting: Waiting, command: str) -> None:
    make("deaf", "deaf")
    make("web1", "deaf")
    process = waiting(f"{command} --timeout 1000")
    host1.stop_libvirtd(signal.SIGKILL)
    _, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode == (9 if "web1" in command else 7), stderr
    assert "the connection to the host was lost" in stderr.decode()
    error = host1.kvmctl("-H qemu:///system list -o json", exit=7).json["error"]
    assert error["code"] == "host-unreachable"
    host1.start_libvirtd()
    assert {vm["state"] for vm in host1.kvmctl("list -o json").json} == {"running"}


def test_the_daemon_hangs(host1: Host, make: Make, waiting: Waiting) -> None:
    make("deaf", "deaf")
    process = waiting("wait deaf --for stopped --timeout 1000")
    os.kill(host1.libvirtd_pid, signal.SIGSTOP)
    try:
        done = host1.kvmctl("-H qemu:///system list --timeout 2", exit=7)
        assert "no answer within 2 s" in done.stderr
        assert host1.kvmctl("stop deaf --timeout 2 -o json", exit=7).json["error"]["code"] == "host-unreachable"
        interrupted = host1.start_kvmctl("start deaf")
        until(lambda: b"libvirt" in Path(f"/proc/{inner(interrupted)}/maps").read_bytes(), "it has begun")
        os.kill(inner(interrupted), signal.SIGINT)
        _, stderr = interrupted.communicate(timeout=LIMIT)
        assert interrupted.returncode == 130, stderr
        # Nobody answers the messages that keep a connection alive.
        _, stderr = process.communicate(timeout=LIMIT)
        assert process.returncode == 7, stderr
        assert "the connection to the host was lost" in stderr.decode()
    finally:
        os.kill(host1.libvirtd_pid, signal.SIGCONT)
    assert host1.kvmctl("list -o name").stdout == "deaf\n"


def test_a_qemu_that_hangs(host1: Host, make: Make) -> None:
    make("hung", "deaf")
    make("web1", "obedient")
    os.kill(host1.qemu_pid("hung"), signal.SIGSTOP)
    assert host1.kvmctl("list -o name").stdout == "hung\nweb1\n"
    assert host1.kvmctl("stop web1 -o json").json["state"] == "stopped"
    error = host1.kvmctl("stop hung --timeout 2 -o json", exit=8).json["error"]
    assert error["message"] == "its QEMU does not answer, and it is still running after 2 s"
    done = host1.kvmctl("stop hung --timeout 2 --force -o json")
    assert (done.json["state"], done.json["forced"]) == ("stopped", True)
    assert "hung" not in host1.qemus()


def test_interrupted_while_it_stops(host1: Host, make: Make, waiting: Waiting) -> None:
    make("deaf", "deaf")
    process = waiting("stop deaf --timeout 1000")
    os.kill(inner(process), signal.SIGTERM)
    _, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, stderr
    assert "was asked to shut down; nobody waits for it any longer" in stderr.decode()


def test_a_host_key_that_is_not_known(host1: Host, host2: Host) -> None:
    known = host2.home / ".ssh/known_hosts"
    known.rename(known.with_name("away"))
    try:
        error = host2.kvmctl(f"-H {host1.ssh_uri} list -o json", exit=7).json["error"]
    finally:
        known.with_name("away").rename(known)
    assert error["code"] == "host-unreachable"
    assert "host key" in error["message"]
    assert "ssh root@host1" in error["hint"]


def test_a_user_who_may_not(host1: Host, host2: Host) -> None:
    error = host2.kvmctl("-H qemu+ssh://stranger@host1/system list -o json", exit=7).json["error"]
    assert error["code"] == "not-authorised"
    assert "ssh stranger@host1" in error["hint"]


def test_several_hosts(host1: Host, host2: Host, make: Make) -> None:
    make("web1", "deaf", start=False)
    done = host2.kvmctl(f"list -H {host1.uri} -H qemu:///system -o json")
    assert [(vm["name"], vm["host"]) for vm in done.json] == [("web1", host1.uri)]
    host1.stop_libvirtd(signal.SIGKILL)
    done = host2.kvmctl(f"list -H {host1.uri} -H {host1.ssh_uri} -H qemu:///system", exit=9)
    assert done.stdout == "NAME  STATE  HOST\n"
    assert done.stderr.count("error: ") == 3


def test_a_daemon_that_was_left_is_not_upset(host1: Host, make: Make) -> None:
    """Commands that listen for events leave without a word; the daemon forgets them."""
    make("web1", "deaf")
    for _ in range(3):
        host1.kvmctl("wait web1 --for running")
    connection = libvirt.open(host1.outside_uri)
    try:
        assert connection.isAlive()
        clients = host1.run("virt-admin srv-clients-list libvirtd", check=False).stdout
        assert clients.count("unix") <= 2, clients
    finally:
        connection.close()
