"""`kvmctl migrate` between two real hosts: what arrives, what is said, and how a move is called off.

Both hosts see one file system, so every disk is shared. Faults are in test_migration_faults.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests import sectors
from tests.lab import load
from tests.lab.cable import free, shaped
from tests.lab.hosts import Host, Lab, inner
from tests.lab.waiting import LIMIT, until
from tests.person import Person
from tests.results import Command

Make = Callable[..., None]
PREPARE, FINISH = 303, 306
"""Procedures that a client calls at the target when it manages the move itself."""
METADATA = "virsh metadata {name} urn:x --key x --config --set <y>kept</y>"


@pytest.fixture
def make(host1: Host, tmp_path: Path) -> Make:
    """`make("web1")`: a small guest on host1, up if it is started."""

    def create(name: str = "web1", *, start: bool = True) -> None:
        host1.kvmctl(["create", sectors.spec(tmp_path, name, "deaf"), *(["--start"] if start else [])])
        if start:
            sectors.until_up(tmp_path, name)

    return create


@pytest.fixture
def busy(host1: Host, tmp_path: Path) -> Callable[[str], None]:
    """`busy("mid")`: web1 on host1 with one of the loads."""

    def boot(kind: str = "idle") -> None:
        connection = libvirt.open(host1.outside_uri)
        load.boot(connection, tmp_path, "web1", load.LOADS[kind])
        connection.close()

    return boot


@pytest.fixture
def slow(lab: Lab) -> Iterator[None]:
    """A cable on which a move of the idle guest takes half a minute."""
    with shaped(lab.hosts, "50mbit"):
        yield


def moved(host: Host, command: Command, **more: Any) -> dict[str, Any]:
    """The result of a move: the last of the JSON lines."""
    result: dict[str, Any] = json.loads(host.kvmctl(command, **more).stdout.splitlines()[-1])
    return result


def states(host: Host) -> dict[str, str]:
    return {vm["name"]: vm["state"] for vm in host.kvmctl("-H qemu:///system list -o json").json}


def known(host: Host, name: str = "web1") -> dict[str, str]:
    lines = host.run(["virsh", "dominfo", name]).stdout.splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def journals(host: Host) -> list[Path]:
    return list((host.directory / "run/kvmctl/migrations").glob("*.json"))


def stayed(here: Host, there: Host) -> None:
    """One copy, which runs where it was, and nothing stale."""
    assert states(here) == {"web1": "running"}
    assert (list(here.qemus()), list(there.qemus())) == (["web1"], [])
    assert states(there) == {}
    assert journals(here) == []


@contextmanager
def migrating(host: Host, options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A move of web1 to host2 from the moment on when bytes are moved, as the JSON lines tell."""
    process = host.start_kvmctl(f"migrate web1 host2 {options} -o json")
    try:
        is_moving(process)
        yield process
    finally:
        host.kill(process)
        process.communicate()


def is_moving(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event.get("event") == "progress" and event["phase"] == "precopy":
            return
    raise AssertionError(f"it ended before: {process.communicate()}")


@pytest.mark.parametrize("way", ["", "--p2p", "--managed"])
def test_a_running_vm(
    way: str, host1: Host, host2: Host, make: Make, tmp_path: Path, rpc_calls: Callable[..., list[int]]
) -> None:
    make()
    host1.kvmctl("autostart web1")
    host1.run(METADATA.format(name="web1").split())
    uuid = known(host1)["UUID"]
    calls = rpc_calls(f"migrate web1 host2 {way} -o json")
    assert ({PREPARE, FINISH} <= set(calls)) is (way == "--managed")
    assert (states(host1), states(host2)) == ({}, {"web1": "running"})
    assert (list(host1.qemus()), list(host2.qemus())) == ([], ["web1"])
    there = known(host2)
    assert (there["UUID"], there["Persistent"], there["Autostart"]) == (uuid, "yes", "enable")
    assert "kept" in host2.run("virsh metadata web1 urn:x --config").stdout
    assert journals(host1) == []
    back = moved(host2, f"migrate web1 host1 {way} -o json")
    assert (back["name"], back["uuid"], back["state"], back["host"]) == ("web1", uuid, "running", "host1")
    assert back["source"] == "qemu:///system"
    assert back["total_ms"] > 0
    assert back["bytes"] > 0
    assert 0 < back["downtime_ms"] <= 300
    assert back["iterations"] >= 1
    assert back["forecast"] is None or back["forecast"].keys() == {
        "converges",
        "total_ms",
        "downtime_ms",
        "bytes",
        "means",
    }
    assert states(host1) == {"web1": "running"}


def test_json_lines(host1: Host, host2: Host, make: Make) -> None:
    make()
    lines = [json.loads(line) for line in host1.kvmctl("migrate web1 host2 -o json").stdout.splitlines()]
    assert {line["event"] for line in lines[:-1]} >= {"progress"}
    assert {line["vm"] for line in lines[:-1]} == {"web1"}
    assert "event" not in lines[-1]
    error = host1.kvmctl("migrate web1 host2 -o json", exit=3)
    assert json.loads(error.stdout)["error"]["code"] == "vm-not-found"


def test_a_vm_without_a_definition_stays_one(host1: Host, host2: Host, make: Make) -> None:
    make(start=False)
    definition = host1.run("virsh dumpxml web1").stdout
    host1.run("virsh undefine web1")
    host1.run("virsh create /dev/stdin", input=definition)
    moved(host1, "migrate web1 host2 -o json")
    assert (states(host1), known(host2)["Persistent"]) == ({}, "no")
    host2.kvmctl("stop --force web1 --timeout 0.1")
    assert states(host2) == {}


def test_a_stopped_vm(host1: Host, host2: Host, make: Make, tmp_path: Path) -> None:
    make(start=False)
    host1.kvmctl("autostart web1")
    host1.run(METADATA.format(name="web1").split())
    result = moved(host1, "migrate web1 host2 -o json")
    assert (result["state"], result["host"], result["bytes"]) == ("stopped", "host2", 0)
    assert (states(host1), states(host2)) == ({}, {"web1": "stopped"})
    assert known(host2)["Autostart"] == "enable"
    assert "kept" in host2.run("virsh metadata web1 urn:x --config").stdout
    host2.kvmctl("start web1")
    sectors.until_up(tmp_path, "web1")


def test_a_vm_that_is_held_arrives_held(host1: Host, host2: Host, make: Make) -> None:
    make()
    host1.kvmctl("pause web1")
    assert moved(host1, "migrate web1 host2 -o json")["state"] == "paused"
    assert (states(host1), states(host2)) == ({}, {"web1": "paused"})


def test_several(host1: Host, host2: Host, make: Make) -> None:
    make("web1")
    make("web2", start=False)
    done = host1.kvmctl("migrate web1 nosuch web2 host2 -o json", exit=9)
    last = json.loads(done.stdout.splitlines()[-1])
    assert [item.get("state") for item in last] == ["running", None, "stopped"]
    assert last[1]["error"]["code"] == "vm-not-found"
    assert states(host2) == {"web1": "running", "web2": "stopped"}
    assert "web1: moved to host2 in " in done.stderr
    assert "web2: moved to host2 in " in done.stderr
    assert "error: nosuch: " in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        "--max-downtime 50ms --no-postcopy --xbzrle 64MiB",
        "--auto-converge 30+10 --xbzrle off --bandwidth 200MiB",
        "--connections 2 --auto-converge off",
    ],
)
def test_means_chosen_by_hand(options: str, host1: Host, host2: Host, busy: Make) -> None:
    busy("mid")
    moved(host1, f"migrate web1 host2 {options} -o json")
    assert states(host2) == {"web1": "running"}


def test_post_copy_by_hand(lab: Lab, host1: Host, host2: Host, busy: Make) -> None:
    busy("hot")
    with shaped(lab.hosts, "1gbit"):
        result = moved(host1, "migrate web1 host2 --postcopy -o json")
    assert states(host2) == {"web1": "running"}
    assert any("post-copy" in decision for decision in result["decisions"])


def test_a_check_moves_nothing(host1: Host, host2: Host, make: Make) -> None:
    make()
    found = host1.kvmctl("migrate web1 host2 --check -o json").json
    assert found["verdict"] != "blocker"
    assert {finding["verdict"] for finding in found["findings"]} <= {"ok", "note", "warning"}
    assert "web1 can move from" in host1.kvmctl("migrate web1 host2 --check").stdout
    stayed(host1, host2)
    blocked = host1.kvmctl("migrate web1 host1 --check -o json", exit=5).json
    assert blocked["verdict"] == "blocker"
    error = json.loads(host1.kvmctl("migrate web1 host1 -o json", exit=5).stdout.splitlines()[-1])["error"]
    assert error["code"] == "migration-blocked"
    assert error["reasons"]
    stayed(host1, host2)


@pytest.mark.parametrize("way", ["--p2p", "--managed"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_called_off_by_a_signal(
    number: signal.Signals, way: str, host1: Host, host2: Host, busy: Make, slow: None
) -> None:
    """There is no terminal."""
    busy()
    with migrating(host1, way) as process:
        os.kill(inner(process), number)
        stdout, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, stderr
    assert json.loads(stdout.splitlines()[-1])["error"]["code"] == "interrupted"
    stayed(host1, host2)


def test_called_off_before_anything_moves(host1: Host, host2: Host, busy: Make) -> None:
    busy()
    process = host1.start_kvmctl("migrate web1 host2")
    until(lambda: b"libvirt" in Path(f"/proc/{inner(process)}/maps").read_bytes(), "it has begun")
    os.kill(inner(process), signal.SIGTERM)
    _, stderr = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, stderr
    stayed(host1, host2)


@pytest.mark.parametrize("way", ["--p2p", "--managed"])
def test_called_off_from_another_terminal(way: str, host1: Host, host2: Host, busy: Make, slow: None) -> None:
    busy()
    with migrating(host1, way) as process:
        [under_way] = host1.kvmctl("migrate --status -o json").json
        assert (under_way["name"], under_way["host"], under_way["target"]) == ("web1", "qemu:///system", "host2")
        assert under_way["phase"] == "precopy"
        again = host1.kvmctl("migrate web1 host2 -o json", exit=6)
        assert json.loads(again.stdout.splitlines()[-1])["error"]["code"] == "migration-under-way"
        done = host1.kvmctl("migrate --cancel web1 -o json").json
        assert (done["state"], done["host"], done["outcome"]) == ("running", "qemu:///system", "stayed")
        stdout, _ = process.communicate(timeout=LIMIT)
    said = json.loads(stdout.splitlines()[-1])["error"]
    assert (said["code"], process.returncode) == ("interrupted", 130), said
    stayed(host1, host2)
    assert host1.kvmctl("migrate --status -o json").json == []


@pytest.mark.parametrize(
    ("way", "deed", "outcome"),
    [("--p2p", "--cancel", "stayed"), ("--managed", "--recover", "stayed"), ("--p2p", "--recover", "moved")],
)
def test_brought_to_an_end_after_a_kill(
    way: str, deed: str, outcome: str, lab: Lab, host1: Host, host2: Host, busy: Make, slow: None
) -> None:
    busy()
    with migrating(host1, way) as process:
        os.kill(inner(process), signal.SIGKILL)
        process.communicate(timeout=LIMIT)
    [left] = host1.kvmctl("migrate --status -o json").json
    assert (left["name"], left["process"]) == ("web1", None)
    assert len(journals(host1)) == 1
    if outcome == "moved":
        free(lab.hosts)
    done = host1.kvmctl(f"migrate {deed} web1 -o json").json
    assert (done["state"], done["outcome"]) == ("running", outcome)
    if outcome == "stayed":
        stayed(host1, host2)
    else:
        assert (states(host1), states(host2)) == ({}, {"web1": "running"})
    assert host1.kvmctl("migrate --recover -o json").json == []
    assert journals(host1) == []


def test_a_deadline_that_is_missed(host1: Host, host2: Host, busy: Make, slow: None) -> None:
    busy()
    done = host1.kvmctl("migrate web1 host2 --deadline 3 --on-deadline abort -o json", exit=8)
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "deadline-missed"
    stayed(host1, host2)


def test_a_reader_that_has_read_enough(host1: Host, host2: Host, make: Make) -> None:
    """The move goes on."""
    make()
    program = " ".join(host1.program)
    host1.run(["bash", "-c", f"{program} migrate web1 host2 -o json | head -1"])
    until(lambda: states(host2) == {"web1": "running"}, "it is there")
    assert states(host1) == {}


def test_a_bar_on_a_terminal(host1: Host, host2: Host, busy: Make, slow: None) -> None:
    busy()
    with Person() as person:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), person.terminal)
        environment = {"TERM": "xterm-256color", "COLUMNS": "100"}
        process = host1.start_kvmctl("migrate web1 host2", env=environment, **streams)
        person.sees("web1")
        person.sees("━")
        person.sees("first pass")
        person.sees("to go")
        os.kill(inner(process), signal.SIGINT)
        process.wait(timeout=LIMIT)
        person.sees("interrupted")
    assert process.returncode == 130
    stayed(host1, host2)
