"""What `pci list` and `pci show` say of a host with real devices: on the host itself, and from elsewhere by libvirt."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from tests.environment import PATH
from tests.metal.conftest import Kvmctl
from tests.metal.machine import Machine

CARD, FUNCTION, DISK = "0000:01:00.0", "0000:01:10.0", "0000:81:00.0"
SATA, BUS, BOARD = "0000:00:1f.2", "0000:00:1f.3", "0000:00:1f.0"


def by_address(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["address"]: item for item in items}


def named(found: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The one that carries an interface or disk of this name."""
    [item] = [item for item in found.values() if name in (*item["interfaces"], *item["blocks"])]
    return item


def test_the_host_itself(metal: Machine) -> None:
    metal.run(["sh", "-c", f"echo 2 >/sys/bus/pci/devices/{CARD}/sriov_numvfs; udevadm settle"])
    found = by_address(metal.kvmctl("pci list -o json").json)
    system, disk = named(found, "vda"), found[DISK]
    assert (system["verdict"], system["used_by"][0]["code"]) == ("needed", "mounted")
    assert "/ is on vda" in system["used_by"][0]["reason"]
    way = next(item for item in found.values() if {user["code"] for user in item["used_by"]} & {"connection"})
    assert (way["verdict"], way["class"], way["used_by"][0]["by"]) == ("needed", "network", "host")
    assert (disk["verdict"], disk["numa_node"], disk["serial"], disk["blocks"]) == ("free", 1, "kvmctl", ["nvme0n1"])
    assert (disk["driver"], disk["class"]) == ("nvme", "NVMe")
    assert found[FUNCTION]["verdict"] == "free"
    assert (found[FUNCTION]["physical_function"], found[CARD]["most_virtual_functions"]) == (CARD, 7)
    assert FUNCTION in found[CARD]["virtual_functions"]
    assert {found[address]["iommu_group"] for address in (SATA, BUS, BOARD)} == {found[SATA]["iommu_group"]}
    assert (found[BOARD]["verdict"], found["0000:00:00.0"]["verdict"]) == ("not-assignable", "not-assignable")
    free = by_address(metal.kvmctl("pci list --free -o json").json)
    assert {DISK, FUNCTION} <= set(free)
    assert not {system["address"], way["address"], BOARD} & set(free)
    [only] = metal.kvmctl("pci list --class nvme --node 1 --vendor 1b36 -o json").json
    assert only["address"] == DISK
    shown = metal.kvmctl(f"pci show {SATA[5:]} nvme0n1 -o json").json
    assert [item["address"] for item in shown] == [SATA, DISK]
    assert {member["address"] for member in shown[0]["group"]} >= {SATA, BUS, BOARD}
    assert not [finding for finding in shown[1]["findings"] if finding["verdict"] == "blocker"]
    text = metal.kvmctl(f"pci show {system['address']}").stdout
    assert "✗ the host needs" in text
    assert f"--force-host-device {system['address']}" in text
    # A file system in another mount namespace is one, too.
    file = str(metal.directory / "nvme")
    subprocess.run(["mkfs.ext4", "-q", "-F", file], env={**os.environ, "PATH": PATH}, check=True)
    elsewhere = "mount /dev/nvme0n1 /mnt; sleep 1000"
    mounting = f"blockdev --flushbufs /dev/nvme0n1; unshare -m sh -c '{elsewhere}' >/dev/null 2>&1 &"
    metal.run(["sh", "-c", mounting])
    metal.run(["timeout", "60", "sh", "-c", "until grep -q nvme0n1 /proc/[0-9]*/mountinfo; do sleep 0.1; done"])
    hidden = metal.kvmctl(f"pci show {DISK} -o json").json
    metal.run("pkill -f 'sleep 1000'", check=False)
    assert (hidden["verdict"], hidden["used_by"][0]["reason"]) == ("needed", "/mnt is on nvme0n1")


def test_from_elsewhere(metal: Machine, outside: Kvmctl) -> None:
    metal.run(["sh", "-c", f"echo 1 >/sys/bus/pci/devices/{CARD}/sriov_numvfs; udevadm settle"])
    metal.run(["sh", "-c", f"ip link set $(ls /sys/bus/pci/devices/{FUNCTION}/net) down"])
    found = by_address(outside("pci list -o json").json)
    for address in (named(found, "vda")["address"], DISK, CARD):
        assert found[address]["verdict"] == "needed"
        assert found[address]["used_by"][0]["code"] == "unseen"
    assert found[FUNCTION]["verdict"] == "free"
    assert found[BOARD]["verdict"] == "not-assignable"
    assert found[DISK]["product_name"]
