"""USB devices of a real host in guests under KVM: plugged in, listed, given, taken away, and kept from VMs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from kvmctl.spec.model.usb import Usb, given
from kvmctl.spec.xmltext import parse
from tests.environment import PATH
from tests.lab.waiting import until
from tests.metal import qemu
from tests.metal.conftest import Kvmctl, Running
from tests.metal.machine import Machine

PLUGS = {"usb-wacom-tablet": "1", "usb-tablet": "2", "usb-kbd": "3", "usb-storage": "4"}
"""What is plugged in, and the number of its port."""
TABLET, ALIKE, STICK = "056a:0000", "0627:0001", "46f4:0001"
"""What QEMU calls them: the second are two."""
STICK_SIZE = 16 << 20


class Plugs:
    """The machine's USB ports, and what kvmctl sees of them from outside."""

    def __init__(self, metal: Machine, outside: Kvmctl) -> None:
        self.metal = metal
        self.outside = outside
        disk = metal.directory / "stick"
        disk.touch()
        os.truncate(disk, STICK_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], env={**os.environ, "PATH": PATH}, check=True)
        self._say("blockdev-add", **{"driver": "file", "filename": "/machine/stick", "node-name": "stick"})
        for name in PLUGS:
            self.plug(name)
        until(lambda: len(self.listed()) == len(PLUGS) and self.one(STICK)["blocks"], "all of them are there")

    def plug(self, name: str) -> None:
        drive = {"drive": "stick"} if name == "usb-storage" else {}
        self._say("device_add", driver=name, id=name, bus="usb.0", port=PLUGS[name], **drive)

    def unplug(self, name: str) -> None:
        self._say("device_del", id=name)

    def close(self) -> None:
        self.metal.run("umount /mnt", check=False)
        for name in PLUGS:
            self.unplug(name)
        until(lambda: not self.listed(), "they are gone")
        self._say("blockdev-del", **{"node-name": "stick"})

    def listed(self) -> dict[str, dict[str, Any]]:
        return {item["port"]: item for item in self.outside("usb list -o json").json}

    def all(self, ids: str) -> list[dict[str, Any]]:
        return [item for item in self.listed().values() if f"{item['vendor']}:{item['product']}" == ids]

    def one(self, ids: str) -> dict[str, Any]:
        [found] = self.all(ids)
        return found

    def _say(self, command: str, **values: str) -> None:
        qemu.say(self.metal.directory / "qmp", command, values)


@pytest.fixture
def plugs(metal: Machine, outside: Kvmctl) -> Iterator[Plugs]:
    made = Plugs(metal, outside)
    yield made
    made.close()


def held(metal: Machine, vm: str) -> list[Usb]:
    """What the running VM has, as libvirt says."""
    connection = libvirt.open(metal.outside_uri)
    found = [entry for _, entry in given(parse(connection.lookupByName(vm).XMLDesc(0)))]
    connection.close()
    return found


def opened(metal: Machine, vm: str) -> int:
    """How many USB devices of the host its QEMU has open, as the kernel says."""
    script = f"ls -l /proc/$(cat /run/libvirt/qemu/{vm}.pid)/fd | grep -c bus/usb"
    return int(metal.run(["sh", "-c", script], check=False).stdout or "0")


def test_tablets(metal: Machine, plugs: Plugs, paused: Running, outside: Kvmctl) -> None:
    paused(web1="memory: 64MiB", web2="memory: 64MiB")
    tablet = plugs.one(TABLET)
    assert tablet["verdict"] == "free"
    made = outside(f"usb attach web1 {TABLET} -o json").json
    assert (made["devices"], made["now"], made["next_boot"]) == ([tablet["port"]], True, True)
    assert held(metal, "web1") == [Usb(vendor="056a", product="0000", bus=tablet["bus"], device=tablet["device"])]
    assert opened(metal, "web1") == 1
    assert outside(f"usb attach web1 {tablet['port']} -o json").json["changed"] is False
    assert plugs.one(TABLET)["verdict"] == "in-use"
    assert plugs.one(TABLET)["used_by"][0]["name"] == "web1"
    refused = outside(f"usb attach web2 {TABLET} {STICK} -o json", exit=5).json["error"]
    assert {reason["code"] for reason in refused["reasons"]} == {"device-in-use", "host-needs-device"}
    # Two that are alike.
    assert outside(f"usb attach web1 {ALIKE} -o json", exit=5).json["error"]["code"] == "device-ambiguous"
    one, other = plugs.all(ALIKE)
    made = outside(f"usb attach web1 {one['bus']}:{one['device']} -o json").json
    assert f"{other['bus']}:{other['device']} is {ALIKE} too" in made["notes"][0]
    assert opened(metal, "web1") == 2
    assert plugs.listed()[other["port"]]["verdict"] == "free"
    outside(f"usb detach web1 {one['port']}")
    assert opened(metal, "web1") == 1
    # What was plugged in again is another to a VM that runs, and can be taken from it all the same.
    plugs.unplug("usb-wacom-tablet")
    until(lambda: tablet["port"] not in plugs.listed(), "it is gone")
    plugs.plug("usb-wacom-tablet")
    until(lambda: tablet["port"] in plugs.listed(), "it is back")
    assert plugs.one(TABLET)["device"] != tablet["device"]
    outside(f"usb detach web1 {TABLET}")
    assert held(metal, "web1") == []


def test_a_stick(metal: Machine, plugs: Plugs, paused: Running) -> None:
    paused(web1="memory: 64MiB")
    stick = plugs.one(STICK)
    [disk] = stick["blocks"]
    metal.run(f"mount /dev/{disk} /mnt")
    found = {item["port"]: item for item in metal.kvmctl("usb list -o json").json}
    assert found.keys() == plugs.listed().keys()
    mounted = found[stick["port"]]
    assert (mounted["verdict"], mounted["used_by"][0]["reason"]) == ("needed", f"/mnt is on {disk}")
    assert mounted["drivers"] == ["usb-storage"]
    assert plugs.one(STICK)["used_by"][0]["code"] == "unseen"
    refused = metal.kvmctl(f"usb attach web1 {STICK} -o json", exit=5).json["error"]
    assert (refused["code"], f"/mnt is on {disk}" in refused["message"]) == ("device-refused", True)
    # Nobody needs it now.
    metal.run("umount /mnt")
    metal.kvmctl(f"usb attach web1 {stick['port']}")
    assert opened(metal, "web1") == 1
    until(lambda: not plugs.one(STICK)["blocks"], "the host has its disk no more")
    metal.run("virsh destroy web1")
    until(lambda: plugs.one(STICK)["blocks"], "the host has its disk again")
    # What a VM is to start with is looked at, too.
    [disk] = plugs.one(STICK)["blocks"]
    metal.run(f"mount /dev/{disk} /mnt")
    assert metal.kvmctl("start --paused web1 -o json", exit=5).json["error"]["code"] == "device-refused"
    metal.run("umount /mnt")
    metal.kvmctl("start --paused web1")
    assert opened(metal, "web1") == 1
    metal.kvmctl(f"usb detach web1 {STICK}")
    until(lambda: plugs.one(STICK)["blocks"], "the host has its disk again")
