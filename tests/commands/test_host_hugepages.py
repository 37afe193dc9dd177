"""`kvmctl host hugepages`: what is shown, asked for and refused. How pages are made is seen in tests/lab and metal."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmctl.commands.host.hugepages import hugepages
from kvmctl.host import hugepages as host_hugepages
from tests.commands.conftest import HOST, Vms
from tests.commands.test_show import keys, words
from tests.conftest import InProcess

BACKED = "<memoryBacking><hugepages><page size='2048'/></hugepages></memoryBacking>"


def test_sizes_nodes_and_vms(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=BACKED)
    shown = run("host hugepages -o json").json
    assert shown["name"] == HOST
    assert [pages["size"] for pages in shown["sizes"]] == [2 * 2**20, 2**30]
    small = shown["sizes"][0]
    assert small["nodes"] == [
        {"number": 0, "total": 0, "free": 0, "used": 0},
        {"number": 1, "total": 0, "free": 0, "used": 0},
    ]
    assert small["vms"] == [
        {"name": "web1", "running": False, "pages": 1, "memory": 2**20, "memory_nodes": None},
    ]
    assert shown["notes"] == ["web1 is stopped and needs 1 pages of 2MiB to start; 0 are free"]
    assert keys(shown) | {"before", "changed"} <= words(hugepages.help or "")


def test_for_people(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=BACKED)
    shown = run("host hugepages --size 2MiB --node 1")
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines == [
        [HOST],
        [],
        ["PAGES", "NODE", "TOTAL", "USED", "FREE"],
        ["2MiB", "1", "0", "0", "0"],
        [],
        ["VM", "STATE", "PAGES", "OF", "MEMORY", "ON", "NODES"],
        ["web1", "stopped", "1", "2MiB", "1MiB", "any"],
    ]
    assert "note: web1 is stopped" in shown.stderr
    assert run("-q host hugepages").stderr == ""
    assert run("host hugepages -o name").stdout == f"{HOST}\n"


def test_a_host_without_any(run: InProcess, tmp_path: Path) -> None:
    (tmp_path / "empty.xml").write_text("<node/>")
    uri = f"test://{tmp_path}/empty.xml"
    assert "no huge pages are offered" in run(f"host hugepages {uri}").stdout
    refused = run(f"host hugepages {uri} --size 2MiB --count 1 -o json", exit=5).json["error"]
    assert refused["code"] == "not-supported"
    assert "offer none at all" in refused["message"]


def test_a_host_that_cannot_change_them(run: InProcess, vms: Vms) -> None:
    refused = run("host hugepages --size 2MiB --count 4 -o json", exit=5)
    assert refused.json["error"]["code"] == "not-supported"
    assert run("host hugepages --size 2MiB --count 0 -o json").json["changed"] is False


@pytest.mark.parametrize(
    ("options", "exit", "code"),
    [
        ("--count 4", 2, "usage"),
        ("--size 2M", 2, "usage"),
        ("--size 2MiB --count -1", 2, "usage"),
        ("--size 4MiB --count 4", 5, "not-supported"),
        ("--size 2MiB --node 7 --count 4", 3, "node-not-found"),
        ("--node 7", 3, "node-not-found"),
        ("--size 1GiB --count 64", 5, "resource-missing"),
        (f"{HOST} -H {HOST}", 2, "usage"),
        (f"-H {HOST} -H test:///other --size 2MiB --count 1", 2, "usage"),
    ],
)
def test_what_is_refused(run: InProcess, vms: Vms, options: str, exit: int, code: str) -> None:
    assert run(f"host hugepages {options} -o json", exit=exit).json["error"]["code"] == code


def test_the_unit_is_explained(run: InProcess, vms: Vms) -> None:
    said = run("host hugepages --size 2M", exit=2).stderr
    assert "--size: '2M' has the unit 'M'" in said
    assert "write 2MiB" in said


def test_the_host_may_be_an_argument(run: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"hosts: {{lab: '{HOST}'}}\n")
    monkeypatch.setenv("KVMCTL_CONFIG", str(file))
    assert run("host hugepages lab -o json").json["name"] == "lab"
    several = run(f"host hugepages -H lab -H {HOST} -o json").json
    assert [host["name"] for host in several] == ["lab", HOST]


def test_what_was_done_is_said(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"size": 2**21, "total": 8, "nodes": [{"number": 0, "total": 8, "before": 3}]}
    done = {"name": "host1", "sizes": [pages], "notes": ["a reboot takes them away"], "changed": True}
    monkeypatch.setattr(host_hugepages, "allocate", lambda *given, **more: done)
    said = run("host hugepages --count 8")
    assert said.stdout == ""
    assert said.stderr == "host1: 8 huge pages of 2MiB (8 on node 0), 3 before\nnote: a reboot takes them away\n"
    assert run("host hugepages --count 8 -o json").json == done
    done["changed"] = False
    assert "as there were already" in run("host hugepages --count 8").stderr
