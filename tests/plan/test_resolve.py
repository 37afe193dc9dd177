"""What is filled in, what is refused, and what must be made: `plan/resolve.py` over hosts of all sorts."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent

import pytest

from kvmctl.errors import KvmctlError
from kvmctl.plan.facts import HostFacts, Pool
from kvmctl.plan.resolve import explicit, resolve
from kvmctl.spec.model.numa import Numa
from kvmctl.spec.model.tuning import Scheduler, Wishes
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import read_nodes
from kvmctl.spec.structure import build

KVM = HostFacts(known=True, networks={"default": True})
NO_KVM = replace(KVM, kvm=False, kvm_reason="the CPU has neither vmx nor svm")
EMBEDDED = replace(NO_KVM, embedded=True, pools=None, networks=None, image_directory="/state/images")
ARM = replace(KVM, arch="aarch64", guest_archs=frozenset({"aarch64", "x86_64"}))


def vm(text: str = "") -> Vm:
    return build(read_nodes(f"name: web1\nmemory: 1GiB\n{text}".encode(), "x.yaml"))


def test_the_host_decides_accelerator_and_cpu_model() -> None:
    fast, slow = resolve(vm(), KVM), resolve(vm(), NO_KVM)
    assert (fast.vm.accelerator, fast.vm.cpu and fast.vm.cpu.model) == ("kvm", "host-model")
    assert (slow.vm.accelerator, slow.vm.cpu and slow.vm.cpu.model) == ("tcg", "maximum")
    assert fast.notes == ()
    assert slow.notes == ("web1: runs emulated, slowly: the CPU has neither vmx nor svm",)


def test_a_foreign_architecture_is_emulated() -> None:
    settled = resolve(vm("arch: x86_64"), ARM).vm
    assert (settled.accelerator, settled.machine) == ("tcg", "q35")
    native = resolve(vm(), ARM).vm
    assert (native.accelerator, native.machine, native.arch) == ("kvm", "virt", "aarch64")


def test_what_the_user_said_stays() -> None:
    settled = resolve(
        vm("accelerator: tcg\nmachine: pc\ncpu: {count: 2, model: EPYC}\nrng: {source: /dev/hwrng}"), KVM
    ).vm
    assert settled.accelerator == "tcg"
    assert settled.machine == "pc"
    assert settled.cpu and settled.cpu.model == "EPYC"
    assert [(rng.source, rng.model) for rng in settled.rng] == [("/dev/hwrng", "virtio")]


def test_no_screen_can_be_asked_for() -> None:
    settled = resolve(vm("graphics: none"), KVM).vm
    assert (settled.graphics, settled.inputs) == ((), ())


@pytest.mark.parametrize("key", ["serial: false", "rng: false", "features: {acpi: false, apic: false}"])
def test_what_is_filled_in_can_be_refused(key: str) -> None:
    settled = resolve(vm(key), KVM).vm
    name = key.partition(":")[0]
    assert getattr(settled, name) in ((), None)
    assert getattr(resolve(vm(), KVM).vm, name)


@pytest.mark.parametrize(
    ("text", "facts", "code"),
    [
        ("accelerator: kvm", NO_KVM, "resource-missing"),
        ("accelerator: kvm\narch: aarch64", replace(KVM, guest_archs=frozenset({"aarch64"})), "resource-missing"),
        ("arch: riscv64", KVM, "resource-missing"),
        ("networks: [lan]", KVM, "network-not-found"),
        ("networks: [default]", EMBEDDED, "not-supported"),
        ("autostart: true", EMBEDDED, "not-supported"),
        ("disks: [{size: 1GiB, pool: fast}]", KVM, "pool-not-found"),
        ("disks: [{size: 1GiB, pool: fast}]", EMBEDDED, "not-supported"),
        (
            "disks: [{size: 1GiB, pool: ceph}]",
            replace(KVM, pools={"ceph": Pool(name="ceph", type="rbd", path="")}),
            "not-supported",
        ),
    ],
)
def test_what_the_host_lacks_is_said_before_anything_is_done(text: str, facts: HostFacts, code: str) -> None:
    with pytest.raises(KvmctlError) as caught:
        resolve(vm(text), facts)
    assert caught.value.code == code
    assert caught.value.vm == "web1"


def test_disks_get_free_names_by_bus() -> None:
    text = "disks: [{path: /a.raw}, {path: /b.raw, name: vda}, {path: /c.raw, bus: scsi}, {path: /d.raw, bus: sata}]\n"
    settled = resolve(vm(text + "cdrom: [/e.iso, {path: /f.iso, name: sdb}]"), KVM).vm
    assert [disk.name for disk in settled.disks] == ["vdb", "vda", "sda", "sdc"]
    assert [drive.name for drive in settled.cdrom] == ["sdd", "sdb"]
    assert [controller.model for controller in settled.controllers] == ["virtio-scsi"]


def test_many_disks_get_two_letters() -> None:
    text = "disks:\n" + "  - {path: /a.raw, shareable: true}\n" * 30
    names = [disk.name for disk in resolve(vm(text), KVM).vm.disks]
    assert names[25:28] == ["vdz", "vdaa", "vdab"]
    assert len(set(names)) == 30


def test_new_disks_become_volumes() -> None:
    text = (
        "disks: [{size: 2GiB}, {image: /srv/base.qcow2}, {image: {path: /b.img, format: raw}, size: 9GiB, pool: fast}]"
    )
    pools = {"default": Pool(name="images", type="dir", path="/d/"), "fast": Pool(name="fast", type="dir", path="/f")}
    one, two, three = resolve(vm(text), replace(KVM, pools=pools)).volumes
    assert (one.path, one.size, one.format, one.backing, one.pool) == (
        "/d/web1-vda.qcow2",
        2 * 2**30,
        "qcow2",
        None,
        "images",
    )
    assert (two.path, two.size, two.backing, two.backing_format) == ("/d/web1-vdb.qcow2", 0, "/srv/base.qcow2", "qcow2")
    assert (three.path, three.backing_format, three.pool) == ("/f/web1-vdc.qcow2", "raw", "fast")


def test_logical_volumes_are_raw() -> None:
    pools = {"default": Pool(name="default", type="logical", path="/dev/vg0")}
    settled = resolve(vm("disks: [{size: 2GiB}]"), replace(KVM, pools=pools))
    assert settled.volumes[0].path == "/dev/vg0/web1-vda"
    assert (settled.volumes[0].format, settled.vm.disks[0].format) == ("raw", "raw")


def test_the_embedded_host_makes_plain_files() -> None:
    (volume,) = resolve(vm("disks: [{size: 2GiB}]"), EMBEDDED).volumes
    assert (volume.path, volume.pool) == ("/state/images/web1-vda.qcow2", None)


def test_secure_boot_comes_with_keys() -> None:
    firmware = resolve(vm("firmware: {type: uefi, secure_boot: true}"), KVM).vm.firmware
    assert firmware and firmware.enrolled_keys is True


UNDECIDED = "cpu: {count: 2, pin: auto, topology: auto, model: {baseline: [a, b]}, placement: spread}"


def test_what_a_host_decides_is_left_out_without_one_and_said() -> None:
    settled = resolve(vm(UNDECIDED), HostFacts())
    why = "web1: left out here, since it is decided on a host, by 'kvmctl create'"
    assert settled.notes == (f"{why}: pin: auto, topology: auto, model: {{baseline: …}}",)
    cpu = settled.vm.cpu
    assert cpu and (cpu.pin, cpu.topology, cpu.model) == (None, None, "host-model")
    assert cpu.placement == Wishes(policy="spread", automatic=True)


@pytest.mark.parametrize("key", ["pin: auto", "pin: {0: 1}, topology: auto", "model: {baseline: [a]}"])
def test_on_a_host_it_has_been_decided_before(key: str) -> None:
    with pytest.raises(KvmctlError, match="has not been decided") as caught:
        resolve(vm(f"cpu: {{{key}}}"), KVM)
    assert caught.value.code == "internal"


def test_schedulers_are_settled_for_every_vcpu_they_mean() -> None:
    text = "[{policy: idle, vcpus: 1}, {policy: fifo, priority: 2}, {policy: idle, vcpus: 3}]"
    cpu = resolve(vm(f"cpu: {{count: 2, max: 6, scheduler: {text}}}"), KVM).vm.cpu
    assert cpu and cpu.scheduler == (
        Scheduler(policy="fifo", priority=2, vcpus=frozenset({0, 2, 4, 5})),
        Scheduler(policy="idle", vcpus=frozenset({1, 3})),
    )


def test_memory_is_held_strictly_if_nothing_is_said() -> None:
    settled = resolve(vm("numa: {nodes: 0}"), KVM).vm
    assert settled.numa == Numa(mode="strict", nodes=frozenset({0}))


def test_cells_take_the_mode_of_the_vm_and_distances_from_each_other() -> None:
    text = """
        cpu: 3
        memory: 768MiB
        numa:
          mode: interleave
          cells:
            - {cpus: 0, memory: 256MiB, nodes: 0, distances: {1: 21, 2: 31}}
            - {cpus: 1, memory: 256MiB, nodes: 1, mode: strict, distances: {0: 22}}
            - {cpus: 2, memory: 256MiB}
        """
    settled = resolve(build(read_nodes(b"name: web1\n" + dedent(text).encode(), "x.yaml")), KVM).vm
    assert settled.numa and settled.numa.mode is None
    assert [(cell.mode, cell.distances) for cell in settled.numa.cells] == [
        ("interleave", {1: 21, 2: 31}),
        ("strict", {0: 22}),
        (None, {0: 31}),
    ]


def test_a_quota_that_limits_nothing_is_said() -> None:
    assert resolve(vm("cpu: {count: 2, iothreads: 1, quota: 400%}"), KVM).notes == ()
    assert resolve(vm("cpu: {count: 2, iothreads: 1, quota: 401%}"), KVM).notes == (
        "web1: quota: 401% limits nothing, its 4 threads can use 400% at most",
    )


def test_the_usual_period_is_not_written_down() -> None:
    cpu = resolve(vm("cpu: {quota: 50%, period: 100ms}"), KVM).vm.cpu
    assert cpu and cpu.period is None


def test_explicit_is_the_opposite_of_filling_in() -> None:
    refused = """
        serial: false
        rng: false
        features: {acpi: false, apic: false}
        machine: default
        cpu: {model: default}
        """
    assert resolve(explicit(vm()), KVM).vm == resolve(vm(dedent(refused)), KVM).vm
