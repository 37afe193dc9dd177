"""A SCSI disk of a real host in guests under KVM: given, kept while it is used, and found again at another address.

It is on a USB stick: of the same kind for SCSI, and another adapter when another stick has been plugged in before it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from kvmctl.spec.model.scsi import given
from kvmctl.spec.xmltext import parse
from tests.environment import PATH
from tests.lab.waiting import until
from tests.metal import qemu
from tests.metal.conftest import Kvmctl, Running, Spec
from tests.metal.machine import Machine

SERIAL = "SN-1"
SIZES = {"unit": 16 << 20, "other": 8 << 20}
"""Of the sticks, which are known by it."""


class Plug:
    """The machine's disk, and what kvmctl sees of it on the machine."""

    def __init__(self, metal: Machine) -> None:
        self.metal = metal
        for name, size in SIZES.items():
            disk = metal.directory / name
            disk.touch()
            os.truncate(disk, size)
            self._say("blockdev-add", {"driver": "file", "filename": f"/machine/{name}", "node-name": name})
        command = ["mkfs.ext4", "-q", "-F", str(metal.directory / "unit")]
        subprocess.run(command, env={**os.environ, "PATH": PATH}, check=True)

    def plug(self, name: str = "unit", serial: str = SERIAL) -> dict[str, Any]:
        values = {"driver": "usb-storage", "id": name, "bus": "usb.0", "drive": name, "serial": serial}
        self._say("device_add", values)
        until(lambda: any(item["block"] for item in self.listed(name)), "the disk is there")
        [found] = self.listed(name)
        return found

    def unplug(self, name: str = "unit") -> None:
        self._say("device_del", {"id": name})
        until(lambda: not self.listed(name), "the disk is gone")

    def close(self) -> None:
        self.metal.run("umount /mnt", check=False)
        for name in SIZES:
            if self.listed(name):
                self.unplug(name)
            self._say("blockdev-del", {"node-name": name})

    def listed(self, name: str = "unit") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.metal.kvmctl("scsi list -o json").json
        return [item for item in found if item["vendor"] == "QEMU" and item["size"] == SIZES[name]]

    def _say(self, command: str, values: dict[str, str]) -> None:
        qemu.say(self.metal.directory / "qmp", command, values)


@pytest.fixture
def plug(metal: Machine) -> Iterator[Plug]:
    made = Plug(metal)
    yield made
    made.close()


def held(metal: Machine, vm: str) -> list[str | None]:
    """The addresses that a VM has, as libvirt says."""
    connection = libvirt.open(metal.outside_uri)
    found = [entry.address for _, entry in given(parse(connection.lookupByName(vm).XMLDesc(0)))]
    connection.close()
    return found


def opened(metal: Machine, vm: str) -> int:
    """How many generic devices its QEMU has open, as the kernel says."""
    script = f"ls -l /proc/$(cat /run/libvirt/qemu/{vm}.pid)/fd | grep -c /dev/sg"
    return int(metal.run(["sh", "-c", script], check=False).stdout or "0")


def test_a_disk(metal: Machine, plug: Plug, paused: Running, metal_spec: Spec, outside: Kvmctl) -> None:
    metal.run("modprobe sg")
    disk = plug.plug()
    assert (disk["kind"], disk["serial"], disk["verdict"]) == ("disk", f"{SERIAL}-0:0", "free")
    [seen] = [item for item in outside("scsi list -o json").json if item["address"] == disk["address"]]
    assert (seen["block"], seen["size"], seen["verdict"]) == (disk["block"], disk["size"], "needed")
    # While the host uses it.
    metal.run(f"mount /dev/{disk['block']} /mnt")
    paused(web1="memory: 64MiB", web2="memory: 64MiB")
    error = metal.kvmctl(f"scsi attach web1 {SERIAL} -o json", exit=5).json["error"]
    assert (error["code"], f"/mnt is on {disk['block']}" in error["message"]) == ("device-refused", True)
    metal.run("umount /mnt")
    # A running VM gets it, with a controller; no other can have it then.
    made = metal.kvmctl(f"scsi attach web1 {SERIAL} -o json").json
    assert (made["devices"], made["now"], made["next_boot"]) == ([disk["address"]], True, True)
    assert (held(metal, "web1"), opened(metal, "web1")) == ([disk["address"]], 1)
    assert "model='virtio-scsi'" in metal.run("virsh dumpxml web1").stdout
    assert metal.kvmctl(f"scsi attach web1 {disk['block']} -o json").json["changed"] is False
    assert plug.listed()[0]["verdict"] == "in-use"
    error = metal.kvmctl(f"scsi attach web2 /dev/{disk['block']} -o json", exit=5).json["error"]
    assert [reason["code"] for reason in error["reasons"]] == ["device-in-use"]
    # Gone, it is missed before anything is touched; back, it is found at another address.
    metal.run("virsh destroy web1")
    plug.unplug()
    assert metal.kvmctl("start --paused web1 -o json", exit=3).json["error"]["code"] == "device-not-found"
    assert held(metal, "web1") == [disk["address"]]
    assert plug.plug("other", "SN-2")["address"] == disk["address"]
    back = plug.plug()
    assert back["address"] != disk["address"]
    metal.kvmctl("start --paused web1")
    assert (held(metal, "web1"), opened(metal, "web1")) == ([back["address"]], 1)
    metal.kvmctl(f"scsi detach web1 {SERIAL} --next-boot")
    metal.run("virsh destroy web1")
    assert held(metal, "web1") == []
    # A spec says it by what stays.
    spec = metal_spec("web3", f"memory: 64MiB\nscsi: [{SERIAL}]")
    metal.kvmctl(f"create {spec}")
    metal.kvmctl("start --paused web3")
    assert opened(metal, "web3") == 1
    metal.run("virsh destroy web3")
