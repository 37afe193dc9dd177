"""The metal machine is what it is said to be, live, and clean after each test; `make metal` opens a shell in it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

import libvirt

from tests.environment import ROOT
from tests.lab.guest import UP
from tests.lab.waiting import until_said
from tests.metal.__main__ import visit
from tests.metal.conftest import GUEST_SECONDS, Kvmctl, Spec
from tests.metal.guest import READY
from tests.metal.machine import Machine
from tests.person import Person


def test_a_guest_under_kvm(metal: Machine, metal_spec: Spec) -> None:
    spec = metal_spec("web1", "cpu: {count: 2, topology: {sockets: 1, cores: 1, threads: 2}}")
    created = metal.kvmctl(f"create {spec} --start -o json").json  # on the host itself, as people do it
    assert (created["name"], created["state"]) == ("web1", "running")
    log = metal.shared / "web1.log"
    until_said(log, READY, seconds=GUEST_SECONDS)
    said = log.read_text()
    assert UP in said
    assert "cpu 1 node 0 package 0 core 0 threads 0-1" in said
    assert "pci 0000:00:00.0 8086:29c0" in said
    process = metal.run("cat /run/libvirt/qemu/web1.pid").stdout.strip()
    assert int(metal.run(["sh", "-c", f"cat /sys/kernel/debug/kvm/{process}-*/exits"]).stdout) > 100
    assert metal.run(f"cat /proc/{process}/cgroup").stdout.startswith("0::/machine.slice/machine-qemu")


def test_the_hosts_topology(metal: Machine) -> None:
    connection = libvirt.open(metal.outside_uri)
    host = ElementTree.fromstring(connection.getCapabilities())
    connection.close()
    cells = {
        cell.get("id"): [(cpu.get("id"), cpu.get("socket_id"), cpu.get("siblings")) for cpu in cell.iter("cpu")]
        for cell in host.iter("cell")
    }
    assert cells == {
        "0": [("0", "0", "0-1"), ("1", "0", "0-1"), ("2", "0", "2-3"), ("3", "0", "2-3")],
        "1": [("4", "1", "4-5"), ("5", "1", "4-5"), ("6", "1", "6-7"), ("7", "1", "6-7")],
    }
    assert {bank.get("cpus") for bank in host.iter("bank") if bank.get("level") == "3"} == {"0-3", "4-7"}
    assert metal.run("cat /sys/devices/system/node/node0/distance").stdout.split() == ["10", "21"]


def test_cgroups(metal: Machine) -> None:
    assert {"cpuset", "cpu", "memory"} <= set(metal.run("cat /sys/fs/cgroup/cgroup.controllers").stdout.split())


def test_the_pulse(metal: Machine) -> None:
    assert metal.run("pgrep --exact --count pulse").stdout == "2\n"


def test_devices(metal: Machine) -> None:
    network = "bus/pci/devices/0000:01:00.0"
    assert metal.run(f"cat /sys/{network}/sriov_totalvfs").stdout.strip() == "7"
    metal.run(["sh", "-c", f"echo 7 >/sys/{network}/sriov_numvfs"])
    groups = sysfs_links(metal, "kernel/iommu_groups/*/devices/*")
    alone = [path for path in groups if len([other for other in groups if group(other) == group(path)]) == 1]
    assert len([path for path in alone if "/0000:01:" in path]) == 8  # the card itself and its functions
    assert len({group(path) for path in groups if "/0000:00:1f." in path}) == 1
    [disk] = sysfs_links(metal, "class/nvme/nvme0/device")
    assert metal.run(f"cat /sys/{disk}/numa_node").stdout.strip() == "1"


def sysfs_links(metal: Machine, pattern: str) -> list[str]:
    return metal.run(["sh", "-c", f"cd /sys && ls -d {pattern}"]).stdout.split()


def group(path: str) -> str:
    return path.split("/")[2]


def test_the_doctor(metal: Machine) -> None:
    found = {finding["name"]: finding for finding in metal.kvmctl("host check -o json", timeout=120).json}
    for name in ("libvirt", "qemu", "permissions", "kvm", "iommu", "numa"):
        assert found[name]["verdict"] == "ok", found[name]
    assert "svm" in found["kvm"]["reason"]
    assert not [finding for finding in found.values() if finding["verdict"] == "failed"]


def test_from_outside(metal: Machine, metal_spec: Spec, outside: Kvmctl) -> None:
    metal_spec("web1")
    outside(f"create {metal.shared}/web1.yaml")
    [listed] = outside("list -o json").json
    assert listed == {**metal.kvmctl("list -o json").json[0], "host": listed["host"]}


def test_what_it_sees_of_the_computer_outside(metal: Machine) -> None:
    (metal.shared / "file").write_text("from outside")
    assert metal.run("cat /shared/file").stdout == "from outside"
    assert metal.run("cat /opt/kvmctl/pyproject.toml").stdout == (ROOT / "pyproject.toml").read_text()
    assert metal.run("touch /opt/kvmctl/file", check=False).returncode != 0


def test_commands(metal: Machine) -> None:
    done = metal.run(["sh", "-c", 'cat; echo "$A" >&2; exit 3'], check=False, input="in", env={"A": "a 'b'"})
    assert (done.returncode, done.stdout, done.stderr) == (3, "in", "a 'b'\n")


def test_clean_mends_what_a_test_did(metal: Machine, metal_spec: Spec, outside: Kvmctl) -> None:
    pages = "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
    card, driver = "/sys/bus/pci/devices/0000:01:00.0", "/sys/bus/pci/drivers"
    metal_spec("web1")
    outside(f"create {metal.shared}/web1.yaml")
    metal.run(
        [
            "sh",
            "-ec",
            f"""echo 16 >{pages}
            echo 0 >/sys/devices/system/cpu/cpu7/online
            echo 2 >{card}/sriov_numvfs
            ip link add br0 type bridge
            modprobe vfio-pci
            echo 0000:81:00.0 >{driver}/nvme/unbind
            echo vfio-pci >/sys/bus/pci/devices/0000:81:00.0/driver_override
            echo 0000:81:00.0 >/sys/bus/pci/drivers_probe""",
        ]
    )
    state = f"cat {pages} /sys/devices/system/cpu/online {card}/sriov_numvfs; ls {driver}/nvme | grep 81:"
    state += "; ls /sys/class/net | grep br; ls /shared"
    assert metal.run(["sh", "-c", state], check=False).stdout.split() == ["16", "0-6", "2", "br0", "web1.yaml"]
    metal.clean()
    assert metal.run(["sh", "-c", state]).stdout.split() == ["0", "0-7", "0", "0000:81:00.0"]
    assert outside("list -o json").json == []


def test_a_shell_for_people(metal: Machine) -> None:
    with Person() as person, ThreadPoolExecutor(1) as pool:
        terminal = dict.fromkeys(("stdin", "stdout", "stderr"), person.terminal)
        shell = pool.submit(visit, metal, **terminal)
        person.sees("Leave with 'exit'")
        person.sees("metal:/shared# ")
        person.type("ls *.yaml; kvmctl --version\r")
        person.sees("burn.yaml  guest.yaml  touch.yaml")
        person.sees("kvmctl 0")
        person.type("exit 7\r")
        assert shell.result(timeout=60) == 7
