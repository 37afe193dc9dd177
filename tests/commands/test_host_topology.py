"""`kvmctl host topology`."""

from __future__ import annotations

import re
import subprocess

import libvirt
import pytest

from kvmctl.commands.host.topology import topology
from tests.commands.conftest import HOST, Vms
from tests.commands.test_host import dead  # noqa: F401 - a fixture
from tests.commands.test_show import keys, words
from tests.conftest import InProcess, OwnProcess
from tests.host import capabilities
from tests.person import Person

PINS = "<vcpu>2</vcpu><cputune><vcpupin vcpu='0' cpuset='1'/><vcpupin vcpu='1' cpuset='2'/>{more}</cputune>"


def test_a_picture(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True, more=PINS.format(more="<emulatorpin cpuset='3-4'/>"))
    vms.define("db1", more=PINS.format(more=""))
    lines = run("host topology").stdout.splitlines()
    assert lines[0].startswith(f"{HOST}: 2 sockets, 2 NUMA nodes, 2 L3 caches, 16 cores,")
    assert lines[1].strip() == "16 CPUs (12 idle)"
    text = "\n".join(lines)
    assert "node 0  CPUs 0-7; 2MiB of 2GiB free" in text
    for cell in (" 0 - ", " 1 (db1:0) web1:0 ? ", " 2 (db1:1) web1:1 ?", " 3 ~ ", " 15 -"):
        assert cell in text
    assert "    ~ 3-4: web1:emu" in lines
    assert "floating: test (2 vCPUs)" in lines
    assert "? db1 and web1 share CPUs 1-2" in lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", [f"host topology {HOST}", f"host topology -H {HOST} -o wide"])
def test_a_host_is_named_in_either_way(run: InProcess, vms: Vms, command: str) -> None:
    assert run(command).stdout == run("host topology").stdout


def test_for_programs(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True, more=PINS.format(more="<emulatorpin cpuset='1,4'/>"))
    vms.define("web2", running=True, more=PINS.format(more=""))
    shown = run("host topology -o json").json
    assert shown["name"] == HOST
    assert [cpu["number"] for cpu in shown["cpus"]] == [*range(16)]
    cpu = dict(shown["cpus"][1])
    there = cpu.pop("occupants")
    assert cpu == {
        "number": 1,
        "node": 0,
        "socket": 0,
        "die": 0,
        "cluster": 0,
        "core": 1,
        "cache": 0,
        "online": True,
        "isolated": None,
    }
    assert there == [
        {"vm": "web1", "kind": "vcpu", "number": 0},
        {"vm": "web1", "kind": "emulator", "number": None},
        {"vm": "web2", "kind": "vcpu", "number": 0},
    ]
    assert [(node["number"], node["cpus"], node["memory"]) for node in shown["nodes"]] == [
        (0, "0-7", 2 * 1024**3),
        (1, "8-15", 4 * 1024**3),
    ]
    assert shown["nodes"][0]["hugepages"][0] == {"size": 2 * 1024**2, "total": 0, "free": 0}
    assert shown["caches"] == [{"number": 0, "cpus": "0-7"}, {"number": 8, "cpus": "8-15"}]
    found = {vm["name"]: vm for vm in shown["vms"]}
    assert found["web1"]["pins"] == {"vcpus": {"0": "1", "1": "2"}, "emulator": "1,4", "iothreads": {}}
    assert (found["test"]["floating"], found["web1"]["floating"]) == ([0, 1], [])
    assert [(each["code"], each["vms"], each["now"]) for each in shown["conflicts"]] == [
        ("shared-cpus", ["web1", "web2"], True)
    ]
    assert keys(shown) <= words(topology.help or "")
    assert run("host topology -o name").stdout == f"{HOST}\n"


def test_every_word_for_programs_is_documented(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of things that the test driver has not."""
    text = capabilities.server()
    monkeypatch.setattr(libvirt.virConnect, "getCapabilities", lambda conn: text)
    shown = run("host topology -o json").json
    assert shown["nodes"][0]["distances"] == {"0": 10, "1": 21}
    assert len(shown["cpus"]) == 8
    documented = words(topology.help or "")
    assert {"address", "type", "product", "virtual", "interfaces", "occupants", "floating"} <= documented
    assert keys(shown) <= documented


def test_several_hosts_and_one_is_dead(run: InProcess, vms: Vms, dead: str) -> None:  # noqa: F811
    done = run(f"host topology {HOST} {dead} -o json", exit=9)
    assert [item.get("error", {}).get("code") for item in done.json] == [None, "host-unreachable"]
    assert run(f"host topology {HOST} {dead}", exit=9).stdout.startswith(HOST)
    assert run(f"host topology {dead}", exit=7).stdout == ""
    assert run(f"host topology {HOST} -H {HOST}", exit=2).stdout == ""


def on_a_terminal(run_process: OwnProcess, columns: int) -> str:
    """What a person sees on a terminal of that width."""
    with Person() as person:
        subprocess.run(["stty", "cols", str(columns)], stdin=person.terminal, check=True)
        here = person.terminal
        process = run_process.start(f"host topology {HOST}", stdin=here, stdout=here, stderr=here)
        while process.poll() is None:
            person.look(0.1)
        return person.look(0.1).decode()


def test_on_a_terminal(run_process: OwnProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """As wide as that is, and coloured unless somebody does not want it."""
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setenv("TERM", "xterm-256color")
    plain = on_a_terminal(run_process, 120)
    assert "\x1b" not in plain
    assert "16 cores, 16 CPUs (16 idle)" in plain.splitlines()[0]
    monkeypatch.delenv("NO_COLOR")
    coloured = on_a_terminal(run_process, 120)
    assert f"\x1b[1m{HOST}\x1b[0m" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain
    assert "16 cores,\r\n" in on_a_terminal(run_process, 80)
