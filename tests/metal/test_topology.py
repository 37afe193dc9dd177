"""What `host topology` says of a host with two nodes and threads, held against the kernel's own words.

`outside` stands for another machine, which knows it by libvirt alone.
"""

from __future__ import annotations

from tests.metal.conftest import Kvmctl, Running
from tests.metal.machine import Machine
from tests.metal.seen import PAGES

CPU = "/sys/devices/system/cpu/cpu{number}/{name}"
PINS = "cpu: {count: 2, pin: {0: '4', 1: '5'}, emulator_pin: '6', placement: {exclusive: true}}"


def column(metal: Machine, name: str) -> list[int]:
    """What lscpu says of every CPU."""
    return [int(line) for line in metal.run(f"lscpu -p={name}").stdout.splitlines() if line[0] != "#"]


def test_a_host_as_the_kernel_knows_it(metal: Machine, outside: Kvmctl) -> None:
    metal.run(["sh", "-c", f"echo 6 > {PAGES.format(node=1, name='nr')}"])
    shown = outside("host topology -o json").json
    cpus = shown["cpus"]
    for name in ("node", "socket"):
        assert [cpu[name] for cpu in cpus] == column(metal, name)
    cores = [cpu["core"] for cpu in cpus]
    assert cores == [0, 0, 2, 2, 4, 4, 6, 6]
    assert [sorted({*cores}).index(core) for core in cores] == column(metal, "core")
    assert shown["caches"] == [{"number": 0, "cpus": "0-3"}, {"number": 4, "cpus": "4-7"}]
    assert [node["distances"] for node in shown["nodes"]] == [{"0": 10, "1": 21}, {"0": 21, "1": 10}]
    pages = {entry["size"]: entry for entry in shown["nodes"][1]["hugepages"]}
    assert pages[2 * 1024**2] == {"size": 2 * 1024**2, "total": 6, "free": 6}
    assert [device["node"] for device in shown["devices"] if device["type"] == "NVMe"] == [1]
    assert ["enp1s0"] in [device["interfaces"] for device in shown["devices"]]
    assert {cpu["isolated"] for cpu in cpus} == {None}


def test_a_cpu_that_is_switched_off(metal: Machine, outside: Kvmctl) -> None:
    metal.run(["sh", "-c", f"echo 0 > {CPU.format(number=6, name='online')}"])
    off = outside("host topology -o json").json["cpus"][6]
    assert (off["number"], off["online"], off["node"], off["core"]) == (6, False, 1, None)
    here = metal.kvmctl("host topology -o json").json
    assert (here["cpus"][6]["online"], here["cpus"][6]["node"]) == (False, 1)
    assert [cpu["isolated"] for cpu in here["cpus"][:2]] == [False, False]
    assert here["nodes"][1]["cpus"] == "4-7"
    assert "offline: 6" in outside("host topology").stdout


def test_who_is_where(paused: Running, outside: Kvmctl) -> None:
    paused(web1=PINS)
    lines = outside("host topology").stdout.splitlines()
    assert any("4 web1:0" in line and "5 web1:1" in line and "6 web1:emu" in line for line in lines)
    assert "exclusive: web1" in lines
