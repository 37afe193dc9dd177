"""The doctor's findings, from facts made up."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.plan.check_facts import (
    FAILED,
    NOTE,
    OK,
    VERDICTS,
    WARNING,
    Failure,
    Finding,
    HostCheckFacts,
    Node,
    Pages,
    Service,
)
from kvmctl.plan.doctor import CHECKS, examine, worst
from kvmctl.plan.packages import COMMANDS

GIB = 1024**3

HEALTHY = HostCheckFacts(
    manager="apt",
    user="ann",
    libvirt=9_000_000,
    hypervisor="QEMU",
    hypervisor_version=7_002_000,
    emulated=frozenset({"x86_64", "i686"}),
    kvm_offered=True,
    cpu_flags=frozenset({"vmx"}),
    kvm_device=True,
    kvm_access=True,
    nested=True,
    iommu_groups=30,
    iommu_offered=True,
    iommu_table=True,
    left_devices=(),
    pages=(Pages(size=2 * 1024**2, total=512, free=500),),
    pages_mounted=True,
    nodes=(Node(number=0, memory=64 * GIB, cpus="0-15"),),
    networks=(Service(name="default", active=True, autostart=True),),
    dnsmasq=True,
    pools=(Service(name="default", active=True, autostart=True),),
    qemu_img=True,
    memory_total=64 * GIB,
    memory_free=32 * GIB,
    space_total=500 * GIB,
    space_free=400 * GIB,
    swtpm=True,
    uefi=True,
    secure_boot=True,
)


def finding(name: str, **changes: Any) -> Finding:
    """The finding about one thing, of a host that is healthy but for these facts."""
    return next(found for found in examine(replace(HEALTHY, **changes)) if found.name == name)


def test_a_healthy_host_has_nothing_to_mend() -> None:
    for found in examine(HEALTHY):
        assert (found.verdict, found.fix) == (OK, ""), found


@pytest.mark.parametrize(
    ("name", "changes", "verdict", "reason", "fix"),
    [
        ("libvirt", {"module": "no usable libvirt module"}, FAILED, "no usable", "sudo apt install python3-libvirt"),
        (
            "libvirt",
            {"failure": Failure(code="host-unreachable", message="no answer")},
            FAILED,
            "no answer",
            "systemctl start libvirtd.socket",
        ),
        (
            "libvirt",
            {"local": False, "failure": Failure(code="host-unreachable", message="x", hint="kvmctl host check -H b")},
            FAILED,
            "x",
            "on that host: systemctl status",
        ),
        (
            "libvirt",
            {"failure": Failure(code="host-unreachable", message="x", hint="check the name")},
            FAILED,
            "x",
            "check the name",
        ),
        ("libvirt", {"libvirt": 6_001_000}, WARNING, "6.1.0", "update"),
        ("libvirt", {"kind": "embedded"}, OK, "no daemon", ""),
        (
            "permissions",
            {"failure": Failure(code="not-authorised", message="not let in", hint="sudo usermod -aG libvirt $USER")},
            FAILED,
            "not let in",
            "usermod -aG libvirt",
        ),
        ("permissions", {"kind": "session"}, NOTE, "your own VMs", "qemu:///system"),
        ("qemu", {"hypervisor_version": None}, FAILED, "no QEMU", "sudo apt install qemu-system-x86"),
        ("qemu", {"emulated": frozenset({"aarch64"})}, FAILED, "no QEMU for x86_64", "qemu-system-x86"),
        (
            "qemu",
            {"arch": "aarch64", "emulated": frozenset({"x86_64"}), "manager": "pacman"},
            FAILED,
            "no QEMU for aarch64",
            "sudo pacman -S qemu-system-aarch64",
        ),
        ("qemu", {"hypervisor": "TEST"}, WARNING, "TEST", "qemu:///system"),
        ("kvm", {"cpu_flags": frozenset({"sse"})}, WARNING, "tcg", "firmware setup"),
        ("kvm", {"cpu_flags": frozenset({"hypervisor"})}, WARNING, "neither vmx nor svm", "nested virtualisation"),
        ("kvm", {"kvm_device": False, "kvm_access": False}, WARNING, "/dev/kvm", "sudo modprobe kvm_intel"),
        ("kvm", {"cpu_flags": frozenset({"svm"}), "kvm_device": False}, WARNING, "/dev/kvm", "modprobe kvm_amd"),
        ("kvm", {"kind": "session", "kvm_access": False}, WARNING, "/dev/kvm", "sudo usermod -aG kvm ann"),
        ("kvm", {"kind": "system", "kvm_access": False}, OK, "vmx", ""),
        ("kvm", {"kvm_offered": False}, WARNING, "libvirt does not offer KVM", "qemu-system-x86"),
        ("nested", {"nested": False}, NOTE, "cannot run VMs", "options kvm_intel nested=1"),
        ("nested", {"nested": None, "cpu_flags": frozenset()}, NOTE, "does not tell", ""),
        ("nested", {"nested": False, "cpu_flags": frozenset({"sse"})}, NOTE, "without KVM", ""),
        ("iommu", {"iommu_groups": 0}, NOTE, "off", "intel_iommu=on"),
        ("iommu", {"iommu_groups": 0, "manager": "dnf"}, NOTE, "off", "sudo grubby"),
        ("iommu", {"iommu_groups": 0, "iommu_table": False}, NOTE, "off", "firmware setup"),
        (
            "iommu",
            {"iommu_groups": 0, "iommu_table": False, "cpu_flags": frozenset({"hypervisor"})},
            NOTE,
            "off",
            "give it an IOMMU",
        ),
        ("iommu", {"iommu_groups": None, "local": False}, OK, "on", ""),
        ("hugepages", {"pages": (Pages(size=2 * 1024**2, total=0),)}, NOTE, "none", "sudo tee /etc/sysctl.d"),
        ("hugepages", {"pages_mounted": False}, WARNING, "512 of 2MiB (500 free)", "mount -t hugetlbfs"),
        (
            "numa",
            {"nodes": (Node(number=0, memory=GIB, cpus="0-3"), Node(number=1, memory=0, cpus="4-7"))},
            WARNING,
            "node 1 has no memory",
            "memory modules",
        ),
        (
            "numa",
            {"nodes": (Node(number=0, memory=GIB, cpus="0-3"), Node(number=1, memory=GIB, cpus="4-7"))},
            OK,
            "node 1: 1GiB, CPUs 4-7",
            "",
        ),
        ("network", {"networks": ()}, WARNING, "no network 'default'", "net-define"),
        (
            "network",
            {"networks": (Service(name="default", active=False, autostart=True),)},
            WARNING,
            "not started",
            "virsh -c qemu:///system net-start default",
        ),
        (
            "network",
            {"networks": (Service(name="default", active=False, autostart=True),), "dnsmasq": False},
            WARNING,
            "dnsmasq",
            "apt install dnsmasq-base",
        ),
        (
            "network",
            {"networks": (Service(name="default", active=True, autostart=False),), "uri": "qemu+ssh://a b/system"},
            NOTE,
            "will not be after a reboot",
            "virsh -c 'qemu+ssh://a b/system' net-autostart default",
        ),
        ("network", {"networks": None, "kind": "embedded"}, NOTE, "user mode", "libvirt-daemon-system"),
        ("pool", {"pools": None, "kind": "embedded", "images": "/images"}, OK, "/images", ""),
        ("pool", {"pools": ()}, NOTE, "the first disk made will make it", ""),
        ("pool", {"pools": None}, WARNING, "storage driver", "libvirt-daemon-system"),
        ("devices", {"left_devices": ("0000:3b:00.0",)}, WARNING, "no VM has it", "kvmctl pci release 0000:3b:00.0"),
        ("devices", {"left_devices": None, "local": False}, NOTE, "cannot be seen", ""),
        ("qemu-img", {"qemu_img": False, "kind": "embedded"}, FAILED, "cannot be made", "apt install qemu-utils"),
        ("qemu-img", {"qemu_img": False}, WARNING, "not found", "qemu-utils"),
        ("qemu-img", {"qemu_img": None, "local": False}, NOTE, "cannot be seen", ""),
        ("memory", {"memory_free": 100 * 1024**2}, WARNING, "100MiB of 64GiB free", "kvmctl list --running"),
        ("disk-space", {"space_free": GIB, "images": "/a b"}, WARNING, "1GiB of 500GiB free in /a b", "df -h '/a b'"),
        ("swtpm", {"swtpm": False, "root": True}, NOTE, "tpm", "apt install swtpm swtpm-tools"),
        ("uefi", {"uefi": False, "manager": ""}, NOTE, "uefi", "ovmf (Debian), edk2-ovmf (Fedora), edk2-ovmf (Arch)"),
        ("uefi", {"secure_boot": False}, OK, "without secure boot", ""),
    ],
)
def test_what_is_wrong_is_told_with_what_mends_it(
    name: str, changes: dict[str, Any], verdict: str, reason: str, fix: str
) -> None:
    found = finding(name, **changes)
    assert found.verdict == verdict
    assert reason in found.reason
    assert fix in found.fix
    assert bool(fix) == bool(found.fix)


def test_root_needs_no_sudo() -> None:
    assert finding("qemu", hypervisor_version=None, root=True).fix == "apt install qemu-system-x86"


def test_packages_of_another_machine_are_named_for_every_distribution() -> None:
    fix = finding("qemu", hypervisor_version=None, local=False, manager="apt").fix
    assert "Debian" in fix
    assert "Fedora" in fix


def test_without_a_connection_the_rest_is_not_guessed() -> None:
    lost = HostCheckFacts(local=False, failure=Failure(code="host-unreachable", message="no answer"))
    findings = examine(lost)
    assert worst(findings) == FAILED
    assert {found.name for found in findings if found.verdict != NOTE} == {"libvirt"}


def values(name: str, kind: str) -> st.SearchStrategy[Any]:
    """Anything that a fact may be."""
    services = st.lists(
        st.builds(Service, name=st.sampled_from(["default", "other"]), active=st.booleans(), autostart=st.booleans())
    ).map(tuple)
    number = st.integers(0, 2**45)
    by_name = {
        "failure": st.builds(
            Failure, code=st.sampled_from(["not-authorised", "host-unreachable"]), message=st.text(min_size=1)
        ),
        "kind": st.sampled_from(["system", "session", "embedded"]),
        "manager": st.sampled_from([*COMMANDS, ""]),
        "arch": st.sampled_from(["x86_64", "aarch64", "s390x", "riscv64", "i686"]),
        "emulated": st.frozensets(st.sampled_from(["x86_64", "aarch64"])),
        "cpu_flags": st.frozensets(st.sampled_from(["vmx", "svm", "sie", "hypervisor", "sse"])),
        "pages": st.lists(st.builds(Pages, size=number, total=number)).map(tuple),
        "nodes": st.lists(st.builds(Node, number=number, memory=number, cpus=st.just("0-3"))).map(tuple),
        "left_devices": st.lists(st.sampled_from(["0000:3b:00.0", "0000:3b:00.1"])).map(tuple),
        "networks": services,
        "pools": services,
    }
    simple = {"bool": st.booleans(), "int": number, "str": st.text()}
    strategy = by_name[name] if name in by_name else simple[kind.partition(" ")[0]]
    return st.one_of(st.none(), strategy) if "None" in kind else strategy


@given(st.fixed_dictionaries({field.name: values(field.name, str(field.type)) for field in fields(HostCheckFacts)}))
def test_whatever_the_facts_are_each_check_finds_something(facts: dict[str, Any]) -> None:
    findings = examine(HostCheckFacts(**facts))
    assert [found.name for found in findings] == list(CHECKS)
    for found in findings:
        assert found.verdict in VERDICTS
        assert found.reason
        assert found.verdict != OK or not found.fix, "what is well needs no mending"
        assert found.verdict != FAILED or found.fix or facts["failure"], "what has failed has a way to mend it"


def test_the_worst_verdict_counts() -> None:
    for several in itertools.permutations(VERDICTS):
        findings = [Finding(name="x", verdict=verdict, reason="y") for verdict in several]
        assert worst(findings) == FAILED
        assert worst(findings[:1]) == several[0]
    assert worst([]) == OK
