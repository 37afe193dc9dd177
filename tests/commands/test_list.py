"""`kvmctl list`."""

from __future__ import annotations

import socket
from pathlib import Path

import libvirt
import pytest

from tests.commands.conftest import HOST, Vms
from tests.conftest import InProcess, OwnProcess

FIELDS = ["name", "uuid", "state", "host", "reason", "id"]

EMPTY = "<node/>"
SAVED = libvirt.VIR_DOMAIN_SHUTOFF_SAVED


def test_all_vms_by_name_running_or_not(run: InProcess, vms: Vms) -> None:
    vms.define("web2", "db")
    vms.define("web10", running=True)
    listed = run("list -o json").json
    assert [(vm["name"], vm["state"]) for vm in listed] == [
        ("db", "stopped"),
        ("test", "running"),
        ("web10", "running"),
        ("web2", "stopped"),
    ]
    assert list(listed[0]) == FIELDS
    assert listed[0]["uuid"] == vms.conn.lookupByName("db").UUIDString()
    ids = [vms.conn.lookupByName(name).ID() for name in ("test", "web10")]
    assert [vm["id"] for vm in listed] == [None, *ids, None]
    assert {vm["host"] for vm in listed} == {HOST}


def test_the_table(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    assert run("list").stdout.splitlines() == ["NAME  STATE", "test  running", "web1  stopped"]
    heading, *lines = run("list -o wide").stdout.splitlines()
    assert heading.split() == ["NAME", "STATE", "HOST", "UUID", "ID", "REASON"]
    assert lines[1].split()[:3] == ["web1", "stopped", HOST]
    assert run("list -o name").stdout == "test\nweb1\n"


def test_states(run: InProcess, vms: Vms, tmp_path: Path) -> None:
    vms.define("paused", running=True).suspend()
    vms.define("saved", running=True).managedSave()
    vms.define("stopped", running=True).destroy()
    states = {vm["name"]: (vm["state"], vm["reason"]) for vm in run("list -o json").json}
    assert states["paused"] == ("paused", "by a user")
    assert states["saved"] == ("saved", "saved")
    assert states["stopped"] == ("stopped", "forced off")
    assert run("list --running -o name").stdout.split() == ["paused", "test"]
    assert run("list --stopped -o name").stdout.split() == ["saved", "stopped"]
    assert len(run("list --running --stopped -o name").stdout.split()) == 4


def test_no_vms(run: InProcess, tmp_path: Path) -> None:
    (tmp_path / "empty.xml").write_text(EMPTY)
    host = f"-H test://{tmp_path}/empty.xml"
    assert run(f"{host} list").stdout == "NAME  STATE\n"
    assert run(f"{host} list -o json").json == []
    assert run(f"{host} list -o name").stdout == ""


@pytest.fixture
def dead() -> str:
    """A host that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"qemu+tcp://127.0.0.1:{server.getsockname()[1]}/system"


def test_the_only_host_is_dead(run: InProcess, dead: str) -> None:
    done = run(f"list -H {dead}", exit=7)
    assert done.stdout == ""
    assert "Connection refused" in done.stderr
    assert run(f"list -H {dead} -o json", exit=7).json["error"]["code"] == "host-unreachable"


def test_one_of_several_hosts_is_dead(run: InProcess, vms: Vms, dead: str, tmp_path: Path) -> None:
    (tmp_path / "empty.xml").write_text(EMPTY)
    done = run(f"-H {dead} -H {HOST} -H test://{tmp_path}/empty.xml list -o json", exit=9)
    assert [vm["name"] for vm in done.json] == ["test"]
    assert done.stderr.count("Connection refused") == 1
    assert "1 of 3 hosts did not answer" in done.stderr
    table = run(f"-H {dead} list -H {HOST} -H {dead}", exit=9).stdout.splitlines()
    assert [line.split() for line in table] == [["NAME", "STATE", "HOST"], ["test", "running", HOST]]


def test_all_hosts(run: InProcess, vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.xml").write_text(EMPTY)
    config = tmp_path / "config.yaml"
    config.write_text(f"hosts: {{b: '{HOST}', a: 'test://{tmp_path}/empty.xml'}}\n")
    monkeypatch.setenv("KVMCTL_CONFIG", str(config))
    assert [(vm["name"], vm["host"]) for vm in run("list --all-hosts -o json").json] == [("test", "b")]
    config.write_text("hosts: [a]\n")
    error = run("list --all-hosts -o json", exit=2).json["error"]
    assert error["code"] == "bad-config"
    assert f"{config}:1" in error["message"]
    assert run("list -H nosuch -o json", exit=2).json["error"]["code"] == "bad-config"
    config.write_text(f"hosts: {{lab: '{HOST}'}}\n")
    assert run("list -H labb -o json", exit=3).json["error"]["code"] == "host-not-found"
    config.write_text("hosts: {lab: 'qemu+ext:///system?command=/bin/false'}\n")
    assert run("list -o json -H lab", exit=5).json["error"]["code"] == "unsafe-uri"


def test_a_hanging_host_among_others(run: InProcess, vms: Vms) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"qemu+tcp://127.0.0.1:{server.getsockname()[1]}/system"
        done = run(f"list -H {HOST} -H {uri} --timeout 3 -o name", exit=9)
    assert done.stdout == "test\n"
    assert f"{uri}: no answer within 3 s" in done.stderr


def test_plain_tcp_is_warned_about_once(run: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "qemu+tcp://nosuch.invalid/system"
    assert run(f"list -H {uri}", exit=7).stderr.count("warning: ") == 1
    assert "warning: " not in run(f"list -q -H {uri}", exit=7).stderr


def test_whoever_reads_it_may_stop(run_process: OwnProcess, tmp_path: Path) -> None:
    """`kvmctl list | head -1` with more than a pipe holds."""
    names = [f"vm{number:0100}" for number in range(1000)]
    domain = "<domain type='test'><name>{}</name><memory>1</memory><os><type>hvm</type></os></domain>"
    (tmp_path / "many.xml").write_text(f"<node>{''.join(map(domain.format, names))}</node>")
    process = run_process.start(f"-H test://{tmp_path}/many.xml list")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().split() == [b"NAME", b"STATE"]
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=100)) == (b"", 0)
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()
