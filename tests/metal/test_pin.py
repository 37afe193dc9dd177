"""`pin show`, `set` and `clear` on a host with two nodes, real KVM and cgroups: what the kernel makes of them."""

from __future__ import annotations

import re
from typing import Any

from tests.lab.waiting import until, until_said
from tests.metal.conftest import GUEST_SECONDS, Kvmctl, Running
from tests.metal.guest import TOUCHED
from tests.metal.machine import Machine
from tests.metal.seen import EVERYWHERE, look

CPU = "cpu: {count: 2, max: 3, iothreads: 1}"
STOP = "stop web1 --force --timeout 0.1"
MIB = 2**20


def shown(metal: Machine) -> dict[str, Any]:
    """`pin show` on the host itself, where it sees what the kernel has."""
    found: dict[str, Any] = metal.kvmctl("pin show web1 -o json").json
    return found


def next_boot(metal: Machine) -> str:
    return metal.run("virsh dumpxml --inactive web1").stdout


def test_pins_are_in_the_kernel_and_its_cgroups(metal: Machine, running: Running, outside: Kvmctl) -> None:
    running("web1", CPU)
    outside("pin set web1 --vcpu 0=4 --vcpu 1=6-7 --vcpu 2=5 --emulator 0-1 --iothread 1=2")
    for _ in range(2):
        kernel = look(metal)
        assert kernel.vcpus == [{4}, {6, 7}]
        assert kernel.emulator == kernel.cpus("IO mon_iothread") == {0, 1}
        assert kernel.cpus("IO iothread1") == kernel.group("iothread1") == {2}
        outside("reset web1")  # vCPU 0 wakes, and moves, if it slept
        said = shown(metal)
        assert [vcpu["actual"] for vcpu in said["vcpus"]] == ["4", "6-7", None]
        assert (said["vcpus"][0]["cpu"], said["vcpus"][0]["node"]) == (4, 1)
        assert (said["emulator"]["actual"], said["iothreads"][0]["actual"]) == ("0-1", "2")
        assert not {"next-boot-differs", "actual-differs"} & {found["code"] for found in said["findings"]}
        outside(STOP)
        outside("start web1")
    metal.run("virsh setvcpus web1 3 --live")
    assert look(metal).vcpus[2] == {5}
    # From outside, libvirt alone would leave QEMU's other threads where they were when it started.
    metal.kvmctl("pin clear web1")
    kernel = look(metal)
    assert kernel.vcpus == [EVERYWHERE] * 3
    assert {name: cpus for name, cpus in kernel.own.items() if cpus != EVERYWHERE} == {}
    assert not re.search("vcpupin|emulatorpin|iothreadpin", next_boot(metal))
    exported = outside("export web1 -o json").json
    assert not {"pin", "emulator_pin", "iothread_pin", "placement"} & exported["cpu"].keys()


def test_memory_moves_with_the_vm(metal: Machine, running: Running, outside: Kvmctl) -> None:
    def there(node: int) -> int:
        return look(metal).bytes_by_node().get(node, 0)

    running("web1", CPU, work="touch")
    until_said(metal.shared / "web1.log", TOUCHED, seconds=GUEST_SECONDS)
    outside("pin set web1 --nodes 1")
    until(lambda: there(0) < 4 * MIB, "the memory is on node 1", seconds=60)
    assert there(1) > 80 * MIB
    outside("pin set web1 --nodes 0 --vcpu 0-1=4-5")
    until(lambda: there(1) < 4 * MIB, "the memory is on node 0", seconds=60)
    kernel = look(metal)
    assert kernel.files["libvirt/vcpu0/cpuset.mems"] == kernel.files["libvirt/emulator/cpuset.mems"] == "0"
    said = shown(metal)
    assert said["memory"]["actual"]["0"] > 80 * MIB
    assert said["memory"]["actual"].get("1", 0) < 4 * MIB
    [remote] = [found["what"] for found in said["findings"] if found["code"] == "remote-memory"]
    assert re.fullmatch(r"\d+ % of its memory is on node 0, its vCPUs are on node 1", remote)
    outside("pin clear web1")
    assert look(metal).files["libvirt/vcpu0/cpuset.mems"] == "0-1"
    assert "numatune" not in next_boot(metal)


def test_memory_that_qemu_has_bound_stays(metal: Machine, paused: Running, outside: Kvmctl) -> None:
    paused(web1=f"{CPU}\nnuma: {{nodes: '0'}}")
    said = outside("pin set web1 --nodes 1 --emulator 3").stderr
    assert said.splitlines()[1].startswith("  memory: at the next boot and not now, because change of nodeset")
    assert look(metal).emulator == {3}
    assert "nodeset='1'" in next_boot(metal)
    error = outside("pin set web1 --nodes 1 --emulator 2 --now -o json", exit=5).json["error"]
    assert error["code"] == "not-supported"
    assert look(metal).emulator == {3}, "and what was done before that is undone"


def test_time_is_limited_and_threads_are_scheduled(metal: Machine, paused: Running, outside: Kvmctl) -> None:
    paused(web1=CPU)
    # Schedulers are for kvmctl on the host itself.
    metal.kvmctl("pin set web1 --shares 500 --quota 150% --period 50ms --scheduler fifo:10 --vcpu 1 --iothread 1")
    for _ in range(2):
        kernel = look(metal)
        assert (kernel.files["cpu.weight"], kernel.files["libvirt/cpu.max"]) == ("500", "75000 50000")
        policies = [kernel.threads[name].policy for name in ("CPU 0/KVM", "CPU 1/KVM", "IO iothread1")]
        assert policies == ["other:0", "fifo:10", "fifo:10"]
        outside(STOP)
        outside("start web1 --paused")
    none = "--shares none --quota none --scheduler other --iothread 1 --vcpu 0-1 --emulator-scheduler batch"
    metal.kvmctl(f"pin set web1 {none}")
    kernel = look(metal)
    assert kernel.files["cpu.weight"] == "100"
    assert kernel.files["libvirt/cpu.max"] in ("max 50000", "max 100000")
    assert {kernel.threads[name].policy for name in ("CPU 0/KVM", "CPU 1/KVM", "IO iothread1")} == {"other:0"}
    assert kernel.threads["qemu-system-x86"].policy == "batch:0"
    error = outside("pin set web1 --shares 10001 --vcpu 0=8 -o json", exit=5).json["error"]
    assert "no-such-cpu" in {reason["code"] for reason in error["reasons"]}
    error = metal.kvmctl("pin set web1 --shares 10001 --vcpu 0=8 -o json", exit=5).json["error"]
    assert {reason["code"] for reason in error["reasons"]} == {"shares-out-of-range", "no-such-cpu"}


def test_a_cpu_that_is_offline(metal: Machine, paused: Running, outside: Kvmctl) -> None:
    switch = "/sys/devices/system/cpu/cpu7/online"
    paused(web1=CPU)
    metal.run(f"sh -c 'echo 0 >{switch}'")
    error = outside("pin set web1 --vcpu 0=7 -o json", exit=5).json["error"]
    assert [reason["code"] for reason in error["reasons"]] == ["cpu-offline"]
    assert f"echo 1 >{switch}" in error["hint"]
    metal.run(f"sh -c 'echo 1 >{switch}'")
    outside("pin set web1 --vcpu 0=7")
    assert look(metal).vcpus[0] == {7}
    outside(STOP)
    metal.run(f"sh -c 'echo 0 >{switch}'")
    findings = {found["code"]: found["what"] for found in outside("pin show web1 -o json").json["findings"]}
    assert findings["offline-cpus"] == (
        "vCPU 0 is pinned to CPU 7, offline or not there; vCPU 0 has no other, and so the VM cannot start"
    )
