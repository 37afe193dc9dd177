"""The whole way of a VM, with a real guest: created, seen, spoken to, stopped and deleted, on every kind of host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.guest import UP
from tests.lab.hosts import Host
from tests.lab.waiting import until_said
from tests.results import Result

WHERE = {
    "local": "qemu:///system",
    "tcp": "host2",
    "ssh": "host2-ssh",
    "embedded": "embedded",
}


@pytest.mark.parametrize("where", WHERE)
def test_first_light(where: str, host1: Host, host2: Host, guest_spec: Callable[..., Path], tmp_path: Path) -> None:
    def kvmctl(command: str, **options: Any) -> Result:
        return host1.kvmctl(f"--host {WHERE[where]} {command}", **options)

    spec = guest_spec("web1", "disks: [{size: 64MiB}]")

    created = kvmctl(f"create {spec} --start -o json").json
    assert (created["name"], created["state"]) == ("web1", "running")
    until_said(tmp_path / "web1.log", UP)

    listed = kvmctl("list -o json").json
    assert [(vm["name"], vm["state"], vm["uuid"]) for vm in listed] == [("web1", "running", created["uuid"])]
    shown = kvmctl("show web1 -o json").json
    assert (shown["state"], shown["vcpus"], shown["memory"]) == ("running", 1, 128 << 20)
    [disk] = shown["disks"]
    assert Path(disk["source"]).name.startswith("web1")

    said = kvmctl("console web1 --linger 5", input="echo $((6*7))-guests\n").stdout
    assert "42-guests" in said

    stopped = kvmctl("stop web1 --timeout 100 -o json").json
    assert (stopped["name"], stopped["state"]) == ("web1", "stopped")
    until_said(tmp_path / "web1.log", "kvmctl guest: off")

    kvmctl("delete web1 --disks")
    assert kvmctl("list -o json").json == []
    assert not list(host1.images.iterdir())
    assert not list(host2.images.iterdir())
    assert not host1.qemus()
    assert not host2.qemus()
