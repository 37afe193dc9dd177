"""`kvmctl host list`, `host show`, `host check`."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl.commands.host.check import check
from kvmctl.commands.host.list import list_
from kvmctl.commands.host.show import show
from kvmctl.plan.doctor import CHECKS
from tests.commands.conftest import HOST, Vms
from tests.commands.test_show import keys, words
from tests.conftest import InProcess, OwnProcess

EMPTY = "<node/>"


@pytest.fixture
def dead() -> Iterator[str]:
    """A host that refuses connections: nobody listens on the port while it is bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"qemu+tcp://127.0.0.1:{bound.getsockname()[1]}/system"


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"qemu+tcp://127.0.0.1:{listening.getsockname()[1]}/system"


@pytest.fixture
def hosts(tmp_path: Path, dead: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with a host that answers, one that does not, and an empty one."""
    (tmp_path / "empty.xml").write_text(EMPTY)
    file = tmp_path / "config.yaml"
    file.write_text(
        f"hosts:\n  lab: {{uri: '{HOST}'}}\n  gone: {{uri: '{dead}'}}\n  empty: {{uri: 'test://{tmp_path}/empty.xml'}}\n"
        "default_host: lab\n"
    )
    monkeypatch.setenv("KVMCTL_CONFIG", str(file))
    return file


# -- list -------------------------------------------------------------------------------------------


def test_hosts_are_listed_and_a_dead_one_is_part_of_the_answer(run: InProcess, hosts: Path, vms: Vms) -> None:
    vms.define("web1")
    listed = run("host list -o json").json
    assert [(host["name"], host["state"]) for host in listed] == [
        ("lab", "reachable"),
        ("gone", "unreachable"),
        ("empty", "reachable"),
        (HOST, "reachable"),
    ]
    lab, gone, empty, default = listed
    assert (lab["vms_running"], lab["vms_total"], lab["error"]) == (1, 2, None)
    assert re.fullmatch(r"\d+\.\d+\.\d+", lab["libvirt"])
    assert lab["hypervisor"].startswith("TEST")
    assert "refused" in gone["error"]
    assert not gone["error"].startswith("gone: ")
    assert (gone["vms_total"], empty["vms_total"]) == (None, 0)
    assert [host["default"] for host in (lab, gone, empty, default)] == [False, False, False, True]


def test_the_default_is_marked(run: InProcess, hosts: Path) -> None:
    listed = run("host list -o json").json
    assert [(host["name"], host["default"]) for host in listed] == [("lab", True), ("gone", False), ("empty", False)]


def test_only_the_hosts_named(run: InProcess, hosts: Path) -> None:
    assert run("host list -H empty -o name").stdout == "empty\n"
    heading, line = run("host list -H empty").stdout.splitlines()
    assert heading.split() == ["NAME", "STATE", "HYPERVISOR", "LIBVIRT", "RUNNING", "VMS", "ERROR"]
    assert line.split()[:2] == ["empty", "reachable"]


def test_a_silent_host_ends_with_its_time(run_process: OwnProcess, silent: str) -> None:
    [host] = run_process(f"host list -H {silent} --timeout 0.5 -o json").json
    assert (host["state"], host["hypervisor"]) == ("unreachable", None)
    assert "0.5 s" in host["error"]


def test_a_wrong_configuration(run: InProcess, hosts: Path) -> None:
    hosts.write_text("hosts: [a]\n")
    assert run("host list -o json", exit=2).json["error"]["code"] == "bad-config"


# -- show -------------------------------------------------------------------------------------------


def test_a_host_in_full(run: InProcess, vms: Vms) -> None:
    shown = run("host show -o json").json
    assert (shown["name"], shown["uri"], shown["embedded"]) == (HOST, HOST, False)
    assert shown["hypervisor"]["name"] == "TEST"
    assert shown["cpu"]["count"] == 16
    assert [node["cpus"] for node in shown["numa_nodes"]] == ["0-7", "8-15"]
    assert [network["name"] for network in shown["networks"]] == ["default"]
    assert [pool["name"] for pool in shown["pools"]] == ["default-pool"]
    assert shown["accelerators"][-1] == "tcg"
    assert shown["kvm"]["usable"] == ("kvm" in shown["accelerators"])
    assert keys(shown) <= words(show.help or "")


def test_a_host_for_people(run: InProcess, vms: Vms) -> None:
    said = run("host show").stdout
    assert said.startswith(f"{HOST}: ")
    assert "  VMs            1 of 1 running\n" in said
    assert re.search(r"^  default-pool  yes +no +100GiB +100GiB$", said, re.MULTILINE)
    assert max(map(len, said.splitlines())) <= 80
    assert "can emulate" not in said
    assert "can emulate" in run("host show -o wide").stdout


def test_several_hosts_and_one_is_dead(run: InProcess, hosts: Path) -> None:
    done = run("host show -H lab -H gone -o json", exit=9)
    assert done.json[0]["name"] == "lab"
    assert done.json[1]["error"]["code"] == "host-unreachable"
    assert "refused" in done.stderr
    assert run("host show -H gone", exit=7).stdout == ""


# -- check ------------------------------------------------------------------------------------------


def by_name(findings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in findings}


def test_the_doctor_looks_at_everything(run: InProcess, vms: Vms) -> None:
    findings = run("host check -o json").json
    assert [finding["name"] for finding in findings] == list(CHECKS)
    assert all(list(finding) == ["name", "verdict", "reason", "fix", "host"] for finding in findings)
    found = by_name(findings)
    assert found["libvirt"]["verdict"] == "ok"
    assert found["qemu"]["verdict"] == "warning"
    assert "TEST" in found["qemu"]["reason"]
    assert found["network"]["fix"] == f"virsh -c {HOST} net-autostart default"
    assert set(CHECKS) | {"name", "verdict", "reason", "fix", "host"} <= set(re.findall(r"[\w-]+", check.help or ""))


def test_what_mends_it_stands_below(run: InProcess, vms: Vms) -> None:
    lines = run("host check").stdout.splitlines()
    assert lines[0].split() == ["CHECK", "VERDICT", "REASON"]
    number = next(number for number, line in enumerate(lines) if line.startswith("network"))
    assert lines[number + 1].split() == ["->", "virsh", "-c", HOST, "net-autostart", "default"]
    assert run("host check -o name").stdout.split() == list(CHECKS)


def test_a_host_that_does_not_answer_has_failed(run: InProcess, dead: str) -> None:
    found = by_name(run(f"host check -H {dead} -o json", exit=5).json)
    assert found["libvirt"]["verdict"] == "failed"
    assert "refused" in found["libvirt"]["reason"]
    assert "systemctl" in found["libvirt"]["fix"]
    assert {finding["verdict"] for name, finding in found.items() if name != "libvirt"} == {"note"}


def test_the_doctor_works_without_a_libvirt_module(run_process: OwnProcess, tmp_path: Path) -> None:
    (tmp_path / "libvirt.py").write_text("raise ImportError('no libvirt here')\n")
    program = "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('kvmctl', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "host", "check"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 5, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split()[:2] == ["libvirt", "failed"]
    assert "no libvirt here" in lines[1]
    assert "libvirt" in lines[2]
    assert re.search(r"^memory +(ok|warning) ", done.stdout, re.MULTILINE), "this machine can be seen all the same"


def test_several_hosts_are_told_apart(run: InProcess, hosts: Path) -> None:
    findings = run("host check -H lab -H empty -o json").json
    assert [finding["host"] for finding in findings] == ["lab"] * len(CHECKS) + ["empty"] * len(CHECKS)
    assert run("host check -H lab -H empty").stdout.split()[:4] == ["HOST", "CHECK", "VERDICT", "REASON"]


def test_list_documents_its_fields(run: InProcess, hosts: Path) -> None:
    assert keys(run("host list -o json").json) <= words(list_.help or "")
