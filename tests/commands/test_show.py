"""`kvmctl show`."""

from __future__ import annotations

import re
from typing import Any

import libvirt
import pytest

from kvmctl.commands.show import show
from kvmctl.spec.metadata import NAMESPACE
from tests.commands.conftest import HOST, Vms
from tests.conftest import InProcess

DEVICES = """
<title>A web server</title>
<description>Serves what is asked for, with a sentence that goes on until it cannot stand on one line.</description>
<vcpu current='1'>2</vcpu>
<cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0-1'/></cputune>
<devices>
  <disk type='file' device='disk'>
    <driver name='qemu' type='qcow2' cache='none'/><source file='/images/web1.qcow2'/><target dev='vda' bus='virtio'/>
  </disk>
  <interface type='network'>
    <mac address='52:54:00:00:00:01'/><source network='default'/><model type='virtio'/>
  </interface>
  <interface type='user'><mac address='52:54:00:00:00:02'/></interface>
  <serial type='pty'><log file='/log/web1'/></serial>
  <graphics type='vnc' port='5901' listen='127.0.0.1'/>
  <hostdev mode='subsystem' type='pci' managed='yes'>
    <source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x0'/></source>
  </hostdev>
</devices>
"""


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def keys(value: Any) -> set[str]:
    """Every key of a document, however deep; what has a vCPU's number for a key is not looked into."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if isinstance(value, dict):
        return {key for key in value if not key.isdigit()}.union(*map(keys, value.values()))
    return set()


def test_a_running_vm(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", running=True, more=DEVICES)
    shown = run("show web1 -o json").json
    assert (shown["name"], shown["uuid"], shown["state"]) == ("web1", domain.UUIDString(), "running")
    assert (shown["host"], shown["id"]) == (HOST, domain.ID())
    assert (shown["autostart"], shown["persistent"], shown["half_created"]) == (False, True, False)
    assert (shown["vcpus"], shown["vcpus_max"], shown["memory"]) == (1, 2, 1024**2)
    assert [disk["source"] for disk in shown["disks"]] == ["/images/web1.qcow2"]
    assert shown["devices"][0]["address"] == "0000:3b:00.0"
    assert shown["pins"]["vcpus"] == {"0": "1"}
    found = [found["address"] for card in shown["networks"] for found in card["addresses"]]
    assert shown["addresses"] == found
    assert found[0].startswith("192.168.")
    assert shown["next_boot"]["memory"] == shown["memory"]
    assert shown["differences"] == []
    assert run(f"show {domain.UUIDString().upper()} -o json").json == shown


def test_every_field_is_documented(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True, more=DEVICES)
    assert keys(run("show web1 -o json").json) <= words(show.help or "")


def test_for_people(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True, more=DEVICES)
    said = run("show web1").stdout
    assert said.startswith("web1: running")
    for line in (
        "  vcpus          1, at most 2",
        "  memory         1MiB",
        "  pins           vcpus 0 on 1; emulator on 0-1",
        "  graphics       vnc at 127.0.0.1:5901",
        "  console        serial (pty), log /log/web1",
        "  DISK  DEVICE  BUS     FORMAT  SOURCE",
        "  vda   disk    virtio  qcow2   /images/web1.qcow2",
        "  pci     0000:3b:00.0  -       yes",
    ):
        assert line in said.splitlines()
    assert re.search(r"^  default  52:54:00:00:00:01  virtio  \S+ +192\.168\.\d+\.\d+/24$", said, re.MULTILINE)
    assert max(map(len, said.splitlines())) <= 80
    assert "CACHE" not in said
    assert "CACHE" in run("show web1 -o wide").stdout
    assert run("show web1 -o name").stdout == "web1\n"


def test_a_stopped_vm(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=DEVICES).setAutostart(True)
    shown = run("show web1 -o json").json
    assert (shown["state"], shown["id"], shown["autostart"], shown["addresses"]) == ("stopped", None, True, [])
    assert (shown["next_boot"], shown["differences"]) == (None, [])


def test_a_vm_without_a_definition(run: InProcess, vms: Vms) -> None:
    uuid = vms.transient("passing").UUIDString()
    shown = run("show passing -o json").json
    assert (shown["uuid"], shown["persistent"], shown["autostart"]) == (uuid, False, False)
    assert shown["next_boot"] is None
    assert "gone when it stops" in run("show passing").stdout


def test_what_differs_at_the_next_boot(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", running=True, more=DEVICES)
    changed = vms.conn.lookupByName("web1").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    vms.conn.defineXML(changed.replace(">1024<", ">2048<"))
    assert domain.isActive()
    shown = run("show web1 -o json").json
    assert (shown["memory"], shown["next_boot"]["memory"]) == (1024**2, 2 * 1024**2)
    assert {"path": "memory", "live": "1024 KiB", "next_boot": "2048 KiB"} in shown["differences"]
    said = run("show web1").stdout
    assert "  DIFFERENT AT THE NEXT BOOT\n" in said
    assert "  memory\n    now        1MiB\n    next boot  2MiB\n" in said


def test_a_half_created_vm_is_marked(run: InProcess, vms: Vms) -> None:
    mark = f"<metadata><k:vm xmlns:k='{NAMESPACE}'><k:creating/></k:vm></metadata>"
    vms.define("web1", more=mark)
    assert run("show web1 -o json").json["half_created"] is True
    assert "a create was interrupted: run it again, or kvmctl delete web1" in " ".join(run("show web1").stdout.split())


def test_several_vms_in_the_order_given(run: InProcess, vms: Vms) -> None:
    vms.define("web1", "web2")
    assert [vm["name"] for vm in run("show web2 test web1 -o json").json] == ["web2", "test", "web1"]
    assert run("show web2 web1 -o name").stdout == "web2\nweb1\n"
    assert "\n\nweb1: stopped" in run("show web2 web1").stdout


def test_some_of_several_are_not_there(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    done = run("show web1 wep1 -o json", exit=9)
    assert done.json[0]["name"] == "web1"
    assert done.json[1]["error"]["code"] == "vm-not-found"
    assert "did you mean 'web1'?" in done.stderr
    assert run("show web1 wep1", exit=9).stdout.startswith("web1: stopped")


def test_no_such_vm(run: InProcess, vms: Vms) -> None:
    done = run("show nothing -o json", exit=3)
    assert done.json["error"]["code"] == "vm-not-found"
    assert run("show", exit=2).stdout == ""


@pytest.mark.parametrize("form", ["table", "wide", "yaml"])
def test_what_a_guest_s_owner_wrote_cannot_control_the_terminal(run: InProcess, vms: Vms, form: str) -> None:
    vms.define("web1", more="<description>red: \N{CONTROL SEQUENCE INTRODUCER}31m</description>")
    said = run(f"show web1 -o {form}").stdout
    assert "\N{CONTROL SEQUENCE INTRODUCER}" not in said
    assert "red: " in said
