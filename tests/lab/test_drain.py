"""`kvmctl drain`: a host is emptied as planned, what cannot leave is left running, and --undo brings all back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import sectors
from tests.lab.cable import shaped
from tests.lab.hosts import Host, Lab, inner
from tests.lab.waiting import LIMIT, until

NAMES = [f"web{number}" for number in range(1, 6)]
ONLY_HERE = "<network><name>only-here</name><forward mode='open'/><bridge name='virbr7'/>"
ONLY_HERE += "<ip address='192.168.127.1' netmask='255.255.255.0'/></network>"
"""Touches no firewall, which need not be there."""


@pytest.fixture
def make(host1: Host, host2: Host, tmp_path: Path) -> Callable[..., None]:
    """`make("web1", "memory: 64MiB")`: a guest on host1."""

    def create(name: str, more: str = "", *, start: bool = True) -> None:
        spec = sectors.spec(tmp_path, name, "deaf")
        spec.write_text(spec.read_text() + more)
        host1.kvmctl(["create", spec, *(["--start"] if start else [])])

    return create


def running(host: Host) -> list[str]:
    return sorted(vm["name"] for vm in host.kvmctl("-H qemu:///system list -o json --running").json)


def answer(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def test_five_vms_leave_and_come_back(host1: Host, host2: Host, make: Callable[..., None]) -> None:
    for name in NAMES:
        make(name)
    make("off", start=False)
    planned = answer(host1.kvmctl("drain host1 --dry-run -o json").stdout)
    assert sorted(trip["vm"] for trip in planned["plan"]) == NAMES
    assert {trip["target"] for trip in planned["plan"]} == {"host2"}, "once, though it has two names in config.yaml"
    assert (planned["moved"], running(host1)) == ([], NAMES)
    done = answer(host1.kvmctl("drain host1 --to host2 -o json").stdout)
    assert sorted(item["name"] for item in done["moved"]) == NAMES
    assert (done["failed"], done["stuck"]) == ([], [])
    assert (running(host1), running(host2)) == ([], NAMES)
    again = host1.kvmctl("drain host1 --to host2 -o json")
    assert answer(again.stdout)["plan"] == []
    host2.kvmctl("-H qemu:///system stop web3 --force --timeout 1")
    back = host1.kvmctl("drain host1 --undo --at-once 3")
    assert "web1: moved to host1 in" in back.stderr
    assert (running(host1), running(host2)) == ([n for n in NAMES if n != "web3"], [])
    listed = host1.kvmctl("-H qemu:///system list -o name").stdout.split()
    assert sorted(listed) == sorted([*NAMES, "off"]), "the one that was stopped meanwhile came back, stopped"
    assert "nothing has left host1" in host1.kvmctl("drain host1 --undo").stderr


def test_what_cannot_leave_stays_and_runs(host1: Host, host2: Host, make: Callable[..., None]) -> None:
    host1.run("virsh net-define /dev/stdin", input=ONLY_HERE)
    host1.run("virsh net-start only-here")
    make("web1")
    make("web2", "networks: [only-here]\n")
    done = host1.kvmctl("drain host1 --to host2", exit=9)
    assert "web2: stays: host2: " in done.stderr
    assert "only-here" in done.stderr
    assert (running(host1), running(host2)) == (["web2"], ["web1"])
    refused = host1.kvmctl("drain host1 --to host2 -o json", exit=5).json["error"]
    assert refused["code"] == "migration-blocked"
    assert "only-here" in refused["reasons"][0]["message"]
    assert running(host1) == ["web2"]


def test_called_off_and_gone_on_with(lab: Lab, host1: Host, host2: Host, make: Callable[..., None]) -> None:
    for name in NAMES[:3]:
        make(name)
    with shaped(lab.hosts, "10mbit"), host1.start_kvmctl("drain host1 --to host2 --at-once 1") as process:
        until(lambda: "web" in host2.run("virsh list --all --name").stdout, "the first arrives")
        os.kill(inner(process), signal.SIGTERM)
        process.communicate(timeout=LIMIT)
        assert process.returncode == 130
    on = (running(host1), running(host2))
    assert sorted(on[0] + on[1]) == NAMES[:3], "each runs on one host"
    host1.kvmctl("drain host1 --to host2")
    assert (running(host1), running(host2)) == ([], NAMES[:3])


def test_no_host_that_answers(host1: Host, make: Callable[..., None]) -> None:
    make("web1")
    refused = host1.kvmctl("drain host1 --to qemu+tcp://10.77.0.9/system --to host1", exit=5)
    assert "there is no host that VMs of host1 could go to" in refused.stderr
    assert "left out" in refused.stderr
    assert running(host1) == ["web1"]
    assert "named twice" in host1.kvmctl("-H host1 drain host1", exit=2).stderr
    assert "--undo takes none of" in host1.kvmctl("drain host1 --undo --stopped", exit=2).stderr
    moved = answer(host1.kvmctl("drain host2 --stopped -o json").stdout)
    assert (moved["plan"], moved["moved"]) == ([], [])
