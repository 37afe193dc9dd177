"""`kvmctl show` of VMs that run for real."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.guest import UP
from tests.lab.hosts import Host
from tests.lab.waiting import LIMIT, until_said

RICH = """
title: A rich VM
description: It has one of everything.
firmware: uefi
agent: true
graphics: vnc
video: virtio
balloon: {stats_period: 5}
features: {acpi: true}
networks: [default, {user: true, model: e1000}]
disks: [{size: 64MiB, cache: none, discard: unmap}]
"""


def test_a_vm_that_was_just_started_has_no_differences(host1: Host, guest_spec: Callable[..., Path]) -> None:
    spec = guest_spec("web1", RICH)
    cpu = "cpu: {count: 2, max: 4, model: maximum, pin: {0: '0', 1: '1'}, emulator_pin: '0'}\n"
    spec.write_text(spec.read_text().replace("cpu: 1\n", cpu))
    host1.kvmctl(f"create {spec} --start")
    shown = host1.kvmctl("show web1 -o json").json
    assert shown["differences"] == []
    assert (shown["vcpus"], shown["vcpus_max"], shown["agent"]) == (2, 4, True)
    [screen] = shown["graphics"]
    assert screen["port"] >= 5900
    assert shown["serial"][0]["path"].startswith("/dev/pts/")
    assert shown["disks"][0]["source"].startswith("/var/lib/libvirt/images/")


def test_addresses_and_what_differs(host1: Host, guest_spec: Callable[..., Path], tmp_path: Path) -> None:
    host1.kvmctl(f"create {guest_spec('web1', 'networks: [default]')} --start")
    until_said(tmp_path / "web1.log", "eth0 has 192.168.121.")
    shown = host1.kvmctl("show web1 -o json").json
    [card] = shown["networks"]
    assert shown["addresses"] == [card["addresses"][0]["address"]]
    assert shown["addresses"][0].startswith("192.168.121.")
    assert card["name"].startswith("vnet")
    assert shown["differences"] == []

    host1.run("virsh -c qemu:///system setmaxmem web1 192M --config")
    shown = host1.kvmctl("show web1 -o json").json
    assert {"path": "memory", "live": "131072 KiB", "next_boot": "196608 KiB"} in shown["differences"]
    assert (shown["memory"], shown["next_boot"]["memory_max"]) == (128 << 20, 192 << 20)


def test_a_vm_that_hangs_is_shown_and_delays_nobody(host1: Host, guest_spec: Callable[..., Path]) -> None:
    names = [f"web{number}" for number in range(1, 5)]
    for name in names:
        host1.kvmctl(f"create {guest_spec(name, 'networks: [default]')} --start")
    began = time.monotonic()
    host1.kvmctl(f"show {' '.join(names)} -o json")
    usual = time.monotonic() - began
    os.kill(host1.qemu_pid("web2"), signal.SIGSTOP)
    began = time.monotonic()
    shown = host1.kvmctl(f"show {' '.join(names)} -o json").json
    assert time.monotonic() - began < 5 * usual + 20  # libvirt itself waits for 30
    assert [(vm["name"], vm["state"]) for vm in shown] == [(name, "running") for name in names]


def test_another_s_command_that_hangs_on_the_vm_does_not_keep_it_from_being_shown(
    host1: Host, guest_spec: Callable[..., Path], tmp_path: Path
) -> None:
    host1.kvmctl(f"create {guest_spec('web1')} --start")
    until_said(tmp_path / "web1.log", UP)
    os.kill(host1.qemu_pid("web1"), signal.SIGSTOP)
    asking = host1.start("virsh -c qemu:///system domstats web1")  # asks QEMU, which does not answer
    time.sleep(1)
    assert host1.kvmctl("show web1 -o json").json["state"] == "running"
    assert asking.poll() is None, "it hangs still"
    os.kill(host1.qemu_pid("web1"), signal.SIGCONT)
    asking.communicate(timeout=LIMIT)


def test_on_the_embedded_host(host1: Host, guest_spec: Callable[..., Path]) -> None:
    host1.kvmctl(f"-H embedded create {guest_spec('web1', 'disks: [{size: 64MiB}]')} --start")
    shown = host1.kvmctl("-H embedded show web1 -o json").json
    assert (shown["state"], shown["host"], shown["addresses"]) == ("running", "embedded", [])
    assert shown["differences"] == []
    assert shown["next_boot"]["disks"][0]["source"] == shown["disks"][0]["source"]
    host1.kvmctl("-H embedded delete web1 --force --disks")
