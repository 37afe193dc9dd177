"""`kvmctl host …` on real hosts, near and far."""

from __future__ import annotations

import os
import signal

import pytest

from tests.lab.hosts import Host

WHERE = {"local": "qemu:///system", "tcp": "host2", "ssh": "host2-ssh", "embedded": "embedded"}


def has_virtualisation() -> bool:
    with open("/proc/cpuinfo") as file:
        return any({"vmx", "svm"} & set(line.split()) for line in file if line.startswith("flags"))


@pytest.mark.parametrize("where", WHERE)
def test_the_doctor(where: str, host1: Host, host2: Host) -> None:
    findings = host1.kvmctl(f"host check -H {WHERE[where]} -o json").json
    found = {finding["name"]: finding for finding in findings}
    for name in ("libvirt", "qemu", "permissions"):
        assert found[name]["verdict"] == "ok", found[name]
    assert not [finding for finding in findings if finding["verdict"] == "failed"]
    if not has_virtualisation():
        assert found["kvm"]["verdict"] == "warning"
        assert "neither vmx nor svm" in found["kvm"]["reason"]
        assert "tcg" in found["kvm"]["reason"]
    if where == "embedded":
        assert found["network"]["verdict"] == "note"
    else:
        assert found["network"]["verdict"] == "ok"
        assert found["pool"]["verdict"] == "ok"
        assert "GiB free in the pool 'default'" in found["disk-space"]["reason"]
    if where in ("tcp", "ssh"):
        assert found["nested"]["reason"] in ("cannot be seen from here", "without KVM here guests have none either")


def test_the_doctor_finds_a_network_that_is_not_started(host1: Host) -> None:
    host1.run("virsh -c qemu:///system net-destroy default")
    try:
        findings = host1.kvmctl("host check -H qemu:///system -o json").json
        [network] = [finding for finding in findings if finding["name"] == "network"]
        assert network["verdict"] == "warning"
        host1.run(network["fix"])
        findings = host1.kvmctl("host check -H qemu:///system -o json").json
        assert [finding["verdict"] for finding in findings if finding["name"] == "network"] == ["ok"]
    finally:
        host1.run("virsh -c qemu:///system net-start default", check=False)


def test_hosts_and_one_whose_daemon_hangs(host1: Host, host2: Host) -> None:
    os.kill(host2.libvirtd_pid, signal.SIGSTOP)
    listed = host1.kvmctl("host list --timeout 10 -o json").json
    states = {host["name"]: host["state"] for host in listed}
    assert states["host1"] == "reachable"
    assert states["host2"] == "unreachable"
    assert states["host2-ssh"] == "unreachable"


def test_a_host_in_full(host1: Host) -> None:
    shown = host1.kvmctl("host show -H qemu:///system -o json").json
    assert shown["hostname"] == "host1"
    assert shown["hypervisor"]["name"] == "QEMU"
    assert "x86_64" in shown["architectures"]
    assert shown["machines"]["q35"].startswith("pc-q35-")
    assert shown["memory"] > shown["memory_free"] > 0
    assert [network["name"] for network in shown["networks"]] == ["default"]
    assert shown["pools"][0]["free"] > 0
    assert ("kvm" in shown["accelerators"]) == has_virtualisation()
