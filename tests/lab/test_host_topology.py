"""`kvmctl host topology` of real hosts with real guests, compared with what the kernel says of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.results import Result

WHERE = {"local": "qemu:///system", "tcp": "host2", "ssh": "host2-ssh", "embedded": "embedded"}
CPUS = Path("/sys/devices/system/cpu")


@pytest.mark.parametrize("where", WHERE)
def test_a_real_host(where: str, host1: Host, host2: Host) -> None:
    shown = host1.kvmctl(f"host topology {WHERE[where]} -o json").json
    online = {int(path.name.removeprefix("cpu")) for path in CPUS.glob("cpu[0-9]*")}
    assert {cpu["number"] for cpu in shown["cpus"] if cpu["online"]} == online
    for cpu in shown["cpus"]:
        place = CPUS / f"cpu{cpu['number']}"
        assert cpu["socket"] == int((place / "topology/physical_package_id").read_text())
        siblings = (place / "topology/thread_siblings_list").read_text().strip()
        assert str(cpu["core"]) == siblings.replace("-", ",").split(",")[0]
        assert (cpu["isolated"] is None) == (where in ("tcp", "ssh"))
    nodes = {path.name: path for path in Path("/sys/devices/system/node").glob("node[0-9]*")}
    assert {f"node{node['number']}" for node in shown["nodes"]} == nodes.keys()
    for node in shown["nodes"]:
        assert node["cpus"] == (nodes[f"node{node['number']}"] / "cpulist").read_text().strip()
        assert (
            0 < node["memory_free"] < node["memory"] <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 1.1
        )
    assert [cache["cpus"] for cache in shown["caches"]]
    assert shown["vms"] == []


@pytest.mark.parametrize("where", ["local", "tcp", "embedded"])
def test_who_is_where(where: str, host1: Host, host2: Host, guest_spec: Callable[..., Path], tmp_path: Path) -> None:
    uri = WHERE[where]

    def kvmctl(command: str) -> Result:
        return host1.kvmctl(f"-H {uri} {command}")

    last = max(os.sched_getaffinity(0))
    pin = f"cpu: {{count: 2, pin: {{0: '0', 1: '{last}'}}, emulator_pin: '{last}', iothreads: 1}}"
    spec = guest_spec("web1").read_text().replace("cpu: 1", pin)
    for name in ("web1", "web2"):
        (tmp_path / f"{name}.yaml").write_text(spec.replace("web1", name))
    kvmctl(f"create {tmp_path / 'web1.yaml'} --start")
    kvmctl(f"create {tmp_path / 'web2.yaml'}")
    kvmctl(f"create {guest_spec('free', 'autostart: false')} --start")
    shown = kvmctl("host topology -o json").json
    there = {cpu["number"]: cpu["occupants"] for cpu in shown["cpus"]}
    assert {"vm": "web1", "kind": "vcpu", "number": 0} in there[0]
    assert {"vm": "web1", "kind": "emulator", "number": None} in there[last]
    found = {vm["name"]: vm for vm in shown["vms"]}
    assert [(name, vm["running"]) for name, vm in found.items()] == [("free", True), ("web1", True), ("web2", False)]
    assert found["web1"]["iothreads"] == 1
    assert (found["free"]["floating"], found["web1"]["memory"]) == ([0], 128 * 1024**2)
    shared = [each for each in shown["conflicts"] if each["code"] == "shared-cpus"]
    assert [(each["vms"], each["now"]) for each in shared] == [(["web1", "web2"], False)]
    text = kvmctl("host topology").stdout
    assert "(web2:0)" in text
    assert "floating: free (1 vCPU)" in text
    assert "? web1 and web2 share CPUs" in text


def test_calls(host1: Host, rpc_calls: Callable[..., list[int]], guest_spec: Callable[..., Path]) -> None:
    """One for each VM and each device, and few others."""
    one = len(rpc_calls("host topology"))
    for name in ("web1", "web2", "web3"):
        host1.kvmctl(f"create {guest_spec(name)}")
    assert len(rpc_calls("host topology")) == one + 3
    devices = host1.run("virsh -c qemu:///system nodedev-list --cap pci").stdout.split()
    devices += host1.run("virsh -c qemu:///system nodedev-list --cap net").stdout.split()
    assert one - len(devices) <= 12
