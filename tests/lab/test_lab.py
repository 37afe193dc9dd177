"""The lab keeps its own promises: it starts, it is isolated, and it is gone whatever happens to the test run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.environment import ROOT
from tests.lab.calls import logging, sent
from tests.lab.delay import delayed
from tests.lab.hosts import Host, inner, missing
from tests.lab.waiting import LIMIT

KILLED = """\
import os, signal
from tests.lab.hosts import Lab
lab = Lab()
print(lab.directory, *(host.pid for host in lab.hosts), *(host.libvirtd_pid for host in lab.hosts), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_hosts_reach_each_other(host1: Host, host2: Host) -> None:
    assert host1.run(["virsh", "--connect", host2.uri, "hostname"]).stdout.strip() == "host2"
    assert host1.run(["virsh", "--connect", host2.ssh_uri, "hostname"]).stdout.strip() == "host2"
    assert host2.run(["virsh", "--connect", host1.uri, "hostname"]).stdout.strip() == "host1"


def test_a_host_key_that_is_not_known_is_refused(host1: Host, host2: Host) -> None:
    (host1.home / ".ssh/known_hosts").rename(host1.home / ".ssh/away")
    try:
        done = host1.run("ssh -o BatchMode=yes host2 true", check=False)
    finally:
        (host1.home / ".ssh/away").rename(host1.home / ".ssh/known_hosts")
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_network_and_pool_are_there(host1: Host) -> None:
    assert "default" in host1.run("virsh --connect qemu:///system net-list --name").stdout
    assert "default" in host1.run("virsh --connect qemu:///system pool-list --name").stdout


def test_clean_mends_what_a_test_did(host1: Host) -> None:
    host1.restart_libvirtd()
    (host1.images / "left.qcow2").write_text("")
    host1.run("virsh --connect qemu:///system pool-destroy default")
    host1.run("virsh --connect qemu:///system pool-undefine default")
    host1.run("virsh --connect qemu:///system net-destroy default")
    host1.stop_libvirtd(signal.SIGKILL)
    host1.clean()
    assert host1.run("virsh --connect qemu:///system pool-list --name").stdout.split() == ["default"]
    assert host1.run("virsh --connect qemu:///system net-list --name").stdout.split() == ["default"]
    assert host1.libvirtd_pid
    assert host1.run("virsh --connect qemu:///system list --all --name").stdout.strip() == ""
    assert not list(host1.images.iterdir())


def test_signals_reach_the_process_behind_nsenter(host1: Host) -> None:
    process = host1.start("sleep 1000")
    os.kill(inner(process), signal.SIGTERM)
    with process:
        assert process.wait(timeout=LIMIT) == -signal.SIGTERM


def test_calls_are_counted(host1: Host, tmp_path: Path) -> None:
    host1.run("virsh --connect qemu:///system list --all", env=logging(tmp_path / "log"))
    assert sent(tmp_path / "log")[:2] == [66, 60]  # auth list, feature supported


def test_distance(host1: Host) -> None:
    with delayed(host1.directory / "run/libvirt/libvirt-sock", 0.2) as port:
        started = time.monotonic()
        subprocess.run(["virsh", "--connect", f"qemu+tcp://127.0.0.1:{port}/system", "uri"], check=True)
        assert time.monotonic() - started > 4 * 0.2


@pytest.mark.skipif(bool(missing()), reason=f"the lab tier {missing()}")
def test_it_is_gone_when_the_test_run_is_killed() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == -signal.SIGKILL
    directory, *processes = done.stdout.split()
    ends = time.monotonic() + LIMIT
    left: list[str] = [directory]
    while left and time.monotonic() < ends:
        left = [one for one in (directory, *(f"/proc/{pid}" for pid in processes)) if Path(one).exists()]
        time.sleep(0.05)
    assert not left
