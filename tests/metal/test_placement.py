"""`pin auto` and `pin: auto` on a host with two nodes, real KVM and cgroups: what the kernel says of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from kvmctl.spec.kinds import parse_cpus
from tests.conftest import OwnProcess
from tests.lab.waiting import until_said
from tests.metal import seen
from tests.metal.conftest import GUEST_SECONDS, Kvmctl, Running, Spec
from tests.metal.guest import READY
from tests.metal.machine import Machine
from tests.metal.seen import EVERYWHERE, look, pages

NVME = "0000:81:00.0"
COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4}
THREADS = ("share", "own_core", "siblings")
EXCLUSIVE = {"one": "own_core", "two": "siblings", "three": "share"}
NODE_1 = frozenset({4, 5, 6, 7})
MIB = 2**20
USAGE = """
read -r pid </run/libvirt/qemu/{vm}.pid
IFS=: read -r number controllers place </proc/$pid/cgroup
cd "/sys/fs/cgroup${{place%/*}}"
look() {{
    cat /proc/uptime
    grep -h usage_usec cpu.stat vcpu0/cpu.stat vcpu1/cpu.stat
}}
look; sleep 6; look
"""


def every(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset[int]().union(*sets)


def cores(cpus: frozenset[int]) -> frozenset[int]:
    """The cores that they are threads of, by number."""
    return frozenset(cpu // 2 for cpu in cpus)


def nodes(cpus: frozenset[int]) -> frozenset[int]:
    return frozenset(cpu // 4 for cpu in cpus)


def chosen_of(plan: dict[str, Any]) -> list[frozenset[int]]:
    return [frozenset({vcpu["cpu"]}) for vcpu in plan["vcpus"]]


def check_shape(cpus: frozenset[int], count: int, threads: str) -> None:
    """The rule for threads is kept."""
    assert len(cpus) == count
    if threads == "own_core":
        assert len(cores(cpus)) == count
    if threads == "siblings":
        assert len(cores(cpus)) == (count + 1) // 2


def test_vms_of_every_size_move_until_nothing_fits(
    metal: Machine, metal_spec: Spec, paused: Running, outside: Kvmctl
) -> None:
    paused(**{name: f"cpu: {count}" for name, count in COUNTS.items()})
    for name, count in COUNTS.items():
        for threads in THREADS:
            plan = outside(f"pin auto {name} --threads {threads} -o json").json
            kernel = look(metal, name)
            assert kernel.vcpus == chosen_of(plan)
            cpus = every(kernel.vcpus)
            check_shape(cpus, count, threads)
            assert len(nodes(cpus)) == (2 if threads == "own_core" and count > 2 else 1), "as few as there can be"
            assert kernel.emulator == parse_cpus(plan["helpers"])
            assert {kernel.group(group, "mems") for group in ("vcpu0", "emulator")} == {nodes(cpus)}
        outside(f"pin clear {name}")
        assert set(look(metal, name).vcpus) == {EVERYWHERE}
    assert "vcpupin" not in metal.run("virsh dumpxml --inactive four").stdout
    planned = outside("pin auto two --dry-run --nodes 1 --threads own_core -o json").json
    assert set(look(metal, "two").vcpus) == {EVERYWHERE}, "it is a dry run"
    plan = outside("pin auto two --nodes 1 --threads own_core -o json").json
    assert plan["vcpus"] == planned["vcpus"]
    assert look(metal, "two").vcpus == chosen_of(plan)
    assert every(chosen_of(plan)) <= NODE_1
    outside("pin clear two")
    fill_exclusively(metal, metal_spec, outside)


def fill_exclusively(metal: Machine, metal_spec: Spec, outside: Kvmctl) -> None:
    """The VMs, which are there and float, get CPUs of their own, until there are too few left for another."""
    taken: set[int] = set()
    for name, threads in EXCLUSIVE.items():
        outside(f"pin auto {name} --exclusive --threads {threads}")
        cpus = every(look(metal, name).vcpus)
        check_shape(cpus, COUNTS[name], threads)
        blocked = {2 * core + thread for core in cores(cpus) for thread in (0, 1)} if threads == "own_core" else cpus
        assert not blocked & taken
        taken |= blocked
    outside("pin pool")
    kernels = {name: look(metal, name) for name in COUNTS}
    for name, kernel in kernels.items():
        others = every(every(kernels[other].vcpus) for other in EXCLUSIVE if other != name)
        assert {thread: cpus for thread, cpus in kernel.own.items() if cpus & others} == {}, "of vCPUs, and QEMU's own"
    metal_spec("five", "cpu: {count: 4, pin: auto, placement: {exclusive: true}}")
    error = outside(f"create {metal.shared}/five.yaml --start -o json", exit=5).json["error"]
    assert error["code"] == "nothing-fits"
    assert "three" in error["message"]
    assert "kvmctl" in error["hint"]
    assert outside("list -o name").stdout.split() == sorted(COUNTS)


def test_near_a_device_with_its_memory(metal: Machine, running: Running, paused: Running) -> None:
    for node in (0, 1):
        metal.run(["sh", "-c", f"echo 64 >{seen.PAGES.format(node=node, name='nr')}"])
    wish = f"placement: {{near: ['{NVME}'], exclusive: true, threads: siblings}}"
    cpu = f"cpu: {{count: 2, pin: auto, topology: auto, {wish}}}"
    running("web1", cpu)
    first = look(metal, "web1")
    paused(web2=f"{cpu}\nmemory: {{size: 128MiB, hugepages: 2MiB}}")
    second = look(metal, "web2")
    assert {len(cpus) for cpus in (*first.vcpus, *second.vcpus)} == {1}
    assert {every(first.vcpus), every(second.vcpus)} == {frozenset({4, 5}), frozenset({6, 7})}
    assert first.emulator == NODE_1 - every(first.vcpus)
    assert second.emulator == look(metal, "web1").emulator == EVERYWHERE - NODE_1, "what was left is the second's alone"
    assert pages(metal, "free") == [64, 0]
    assert second.bytes_by_node("bind:1") == {1: 128 * MIB}
    until_said(metal.shared / "web1.log", READY, seconds=GUEST_SECONDS)
    assert "cpu 1 node 0 package 0 core 0 threads 0-1" in (metal.shared / "web1.log").read_text()
    found = look(metal, "web1").bytes_by_node("bind:1")
    assert set(found) == {1}
    assert found[1] > 32 * MIB


def test_plans_made_at_the_same_time(
    metal: Machine, metal_spec: Spec, outside: Kvmctl, run_process: OwnProcess
) -> None:
    names = ("web1", "web2", "web3")
    for name in names:
        metal_spec(name, "cpu: 2")
    outside(f"create {' '.join(f'{metal.shared / name}.yaml' for name in names)}")
    running = [run_process.start(f"-H {metal.outside_uri} pin auto {name} --exclusive") for name in names]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    shown = outside(f"pin show {' '.join(names)} -o json").json
    chosen = [parse_cpus(vcpu["next_boot"]) for vm in shown for vcpu in vm["vcpus"]]
    assert len(every(chosen)) == 6


def test_the_pool_follows(metal: Machine, paused: Running, outside: Kvmctl) -> None:
    paused(floats="cpu: 1")
    outside("pin pool")
    assert look(metal, "floats").vcpus == [EVERYWHERE]
    paused(alone="cpu: {count: 2, pin: auto, placement: {exclusive: true}}")
    left = EVERYWHERE.difference(*look(metal, "alone").vcpus)
    assert len(left) == 6
    kernel = look(metal, "floats")
    assert (kernel.vcpus, kernel.emulator) == ([left], left)


def test_a_quota_is_held(metal: Machine, running: Running) -> None:
    running("busy", "cpu: {count: 2, quota: 60%, shares: 300}", work="burn")
    until_said(metal.shared / "busy.log", READY, seconds=GUEST_SECONDS)
    files = look(metal, "busy").files
    assert (files["cpu.weight"], files["libvirt/cpu.max"]) == ("300", "60000 100000")
    words = metal.run(["sh", "-c", USAGE.format(vm="busy")]).stdout.replace("usage_usec", "").split()
    passed, _, used, *by_vcpu = (float(then) - float(now) for now, then in zip(words[:5], words[5:], strict=True))
    assert used / 1e6 / passed == pytest.approx(0.6, rel=0.1)
    assert min(by_vcpu) > 0.2 * used, "both are busy"
