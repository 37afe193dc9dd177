"""`kvmctl scsi list`, `attach` and `detach`, and `start`, on a host of libvirt's test driver that has SCSI devices.

Real ones are given in tests/metal.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from kvmctl.app import App
from kvmctl.cli import root
from kvmctl.completion import answer
from kvmctl.spec.model.scsi import given
from kvmctl.spec.xmltext import parse
from tests.commands.plugs import CONFIG, LIVE, SYSTEM, Plugs, domain
from tests.conftest import InProcess

BASE = "/sys/devices/pci0000:00/0000:00:14.0"
HELD = """<devices><hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host4'/>
<address bus='0' target='2' unit='0'/></source></hostdev></devices>"""
KEPT = """<metadata><kvmctl:vm xmlns:kvmctl='https://kvmctl.dev/xmlns/vm/1'>
<kvmctl:device address='4:0:7:0' product='X' serial='{serial}'/></kvmctl:vm></metadata><devices>
<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host4'/>
<address bus='0' target='7' unit='0'/></source></hostdev></devices>"""
WWN = "0x5000c500a1b2c3d4"


def unit(address: str, kind: str = "tape", *, block: str = "", serial: str = "") -> str:
    host, bus, target, lun = address.split(":")
    name, path = f"scsi_{address.replace(':', '_')}", f"{BASE}/host{host}/target{host}:{bus}:{target}/{address}"
    disk = (
        f"<device><name>block_{block}</name><path>{path}/block/{block}</path><parent>{name}</parent>"
        f"<capability type='storage'><block>/dev/{block}</block><bus>scsi</bus><drive_type>disk</drive_type>"
        f"<model>Disk</model><vendor>ACME</vendor><serial>{serial}</serial><size>1073741824</size></capability></device>"
    )
    return (
        f"<device><name>{name}</name><path>{path}</path><parent>computer</parent><capability type='scsi'>"
        f"<host>{host}</host><bus>{bus}</bus><target>{target}</target><lun>{lun}</lun><type>{kind}</type></capability>"
        f"</device>{disk if block else ''}"
    )


@pytest.fixture
def host(tmp_path: Path) -> str:
    """The URI of a host with web1, which runs, web2, which runs with 4:0:2:0, web3 and web4, which are off."""
    off = "<test:runstate>5</test:runstate>"
    vms = domain(1) + domain(2, HELD) + domain(3, off)
    units = unit("2:0:0:0", "disk", block="sdb", serial=f"3{WWN[2:]}") + unit("4:0:1:0") + unit("4:0:2:0", "changer")
    path = tmp_path / "host.xml"
    path.write_text(f"<node>{vms}{SYSTEM}{units}{unit('10:0:0:0', 'cdrom')}</node>")
    return f"test://{path}"


def addresses(plugs: Plugs, number: int, flag: int) -> list[str | None]:
    devices = Element("devices")
    devices.extend(map(parse, plugs.held.get(plugs.key(number, flag), [])))
    vm = Element("domain")
    vm.append(devices)
    return [entry.address for _, entry in given(vm)]


def test_the_devices_of_a_host(run: InProcess, host: str) -> None:
    found = {item["address"]: item for item in run(["scsi", "list", host, "-o", "json"]).json}
    assert list(found) == ["2:0:0:0", "4:0:1:0", "4:0:2:0", "10:0:0:0"]
    disk = found["2:0:0:0"]
    assert (disk["kind"], disk["vendor"], disk["model"], disk["block"]) == ("disk", "ACME", "Disk", "sdb")
    assert (disk["wwn"], disk["serial"], disk["size"], disk["verdict"]) == (WWN, None, 2**30, "needed")
    assert disk["used_by"][0]["code"] == "unseen"
    assert [found[each]["kind"] for each in ("4:0:1:0", "4:0:2:0", "10:0:0:0")] == ["tape", "changer", "cd/dvd"]
    assert (found["4:0:2:0"]["verdict"], found["4:0:2:0"]["used_by"][0]["name"]) == ("in-use", "web2")
    assert run(f"-H {host} scsi list --free -o name").stdout.split() == ["4:0:1:0", "10:0:0:0"]
    shown = run(f"-H {host} scsi list")
    assert shown.stdout.split("\n")[0].split() == ["ADDRESS", "KIND", "DEVICE", "NAME", "SIZE", "VERDICT", "USED", "BY"]
    assert "counts as needed" in shown.stderr


def test_a_device_is_given_and_taken_with_a_controller_for_it(run: InProcess, host: str, plugs: Plugs) -> None:
    for word in ("4:0:1:0", "[4:0:1:0]"):
        given = run(["-H", host, "scsi", "attach", "web1", word, "-o", "json"]).json
        assert (given["changed"], given["now"], given["next_boot"], given["devices"]) == (True, True, True, ["4:0:1:0"])
        assert "neither WWN nor serial number" in given["notes"][0]
        for flag in (LIVE, CONFIG):
            assert addresses(plugs, 1, flag) == ["4:0:1:0"]
            controllers = [text for text in plugs.held[plugs.key(1, flag)] if "controller" in text]
            assert len(controllers) == 1
            assert 'model="virtio-scsi"' in controllers[0]
        assert run(f"-H {host} scsi attach web1 4:0:1:0 -o json").json["changed"] is False
        taken = run(f"-H {host} scsi detach web1 4:0:1:0 -o json").json
        assert (taken["changed"], taken["devices"]) == (True, ["4:0:1:0"])
        assert addresses(plugs, 1, LIVE) == addresses(plugs, 1, CONFIG) == []


def test_one_configuration_alone(run: InProcess, host: str, plugs: Plugs) -> None:
    run(f"-H {host} scsi attach web1 4:0:1:0 --now")
    assert (addresses(plugs, 1, LIVE), addresses(plugs, 1, CONFIG)) == (["4:0:1:0"], [])
    said = run(f"-H {host} scsi attach web1 4:0:1:0 --next-boot --dry-run").stderr
    assert "web1: would have 4:0:1:0, from its next boot on" in said
    assert addresses(plugs, 1, CONFIG) == []
    run(f"-H {host} scsi attach web1 4:0:1:0 --next-boot --readonly --shareable")
    assert all(f"<{word} />" in plugs.held[plugs.key(1, CONFIG)][-1] for word in ("readonly", "shareable"))
    run(f"-H {host} scsi detach web1 4:0:1:0 --now")
    assert (addresses(plugs, 1, LIVE), addresses(plugs, 1, CONFIG)) == ([], ["4:0:1:0"])
    assert "would give back" in run(f"-H {host} scsi detach web1 4:0:1:0 --next-boot --dry-run").stderr
    run(f"-H {host} scsi detach web1 4:0:1:0 --next-boot")
    assert addresses(plugs, 1, CONFIG) == []
    for verb in ("attach", "detach"):
        assert "exclude each other" in run(f"-H {host} scsi {verb} web1 sdb --now --next-boot", exit=2).stderr


def test_what_is_refused(run: InProcess, host: str, plugs: Plugs) -> None:
    error = run(f"-H {host} scsi attach web1 sdb 4:0:2:0 -o json", exit=5).json["error"]
    assert (error["code"], error["vm"]) == ("device-refused", "web1")
    assert [reason["code"] for reason in error["reasons"]] == ["host-needs-device", "device-in-use"]
    assert not plugs.held
    for number, (word, name) in enumerate(((WWN, "2:0:0:0"), ("/dev/sdb", "/dev/sdb"))):
        run(f"-H {host} scsi attach web1 {word} --force-host-device {name}")
        assert addresses(plugs, 1, LIVE) == ["2:0:0:0"], number
        run(f"-H {host} scsi detach web1 {WWN}")


def test_all_or_none(run: InProcess, host: str, plugs: Plugs) -> None:
    plugs.fails = 4
    run(f"-H {host} scsi attach web1 4:0:1:0 -o json", exit=5)
    assert plugs.calls == 4
    assert not any(plugs.held.values())


def test_what_is_not_there(run: InProcess, host: str, plugs: Plugs) -> None:
    for words in ("web1 SN-1", "web1 9:0:0:0", "web1 sdz"):
        assert run(f"-H {host} scsi attach {words} -o json", exit=3).json["error"]["code"] == "device-not-found"
    assert run(f"-H {host} scsi attach nosuch 4:0:1:0 -o json", exit=3).json["error"]["code"] == "vm-not-found"
    error = run(f"-H {host} scsi detach web1 4:0:1:0 -o json", exit=3).json["error"]
    assert (error["code"], "it has none" in error["message"]) == ("device-not-found", True)
    assert "it has 4:0:2:0" in run(f"-H {host} scsi detach web2 4:0:1:0", exit=3).stderr
    for verb in ("attach", "detach"):
        assert "is no SCSI device" in run(f"-H {host} scsi {verb} web1 2:0:0", exit=2).stderr
    assert "is no SCSI address" in run("scsi attach web1 sdb --force-host-device 3b:00.0", exit=2).stderr


def test_a_spec(run: InProcess, host: str, tmp_path: Path) -> None:
    spec = tmp_path / "web9.yaml"
    spec.write_text("name: web9\nmemory: 64MiB\nscsi: [sdb]\n")
    assert "can only be told by the host" in run(f"xml {spec} --offline", exit=5).stderr
    assert run(f"-H {host} create {spec} -o json", exit=5).json["error"]["code"] == "device-refused"
    xml = run(f"-H {host} create {spec} --dry-run --force-host-device /dev/sdb -o json").json["xml"]
    assert 'name="scsi_host2"' in xml
    assert 'model="virtio-scsi"' in xml
    raw = "<domain><devices><hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host2'/>"
    raw += "<address bus='0' target='0' unit='0'/></source></hostdev></devices></domain>"
    spec.write_text(f'name: web9\nmemory: 64MiB\nraw_xml: "{raw}"\n')
    assert run(f"-H {host} create {spec} -o json", exit=5).json["error"]["code"] == "device-refused"
    run(f"-H {host} create {spec} --dry-run --force-host-device 2:0:0:0")


@pytest.fixture
def moved(tmp_path: Path) -> str:
    """web1 and web2 are off; the device of the first is at another address now, that of the second is gone."""
    off = "<test:runstate>5</test:runstate>"
    vms = domain(1, KEPT.format(serial="SN-7") + off) + domain(2, KEPT.format(serial="SN-8") + off)
    units = unit("5:0:0:0", "disk", block="sdc", serial="SACME_Disk_SN-7")
    units += unit("4:0:7:0", "disk", block="sdd", serial="SACME_Disk_SN-9")
    path = tmp_path / "moved.xml"
    path.write_text(f"<node>{vms}{SYSTEM}{units}</node>")
    return f"test://{path}"


def test_start_finds_a_device_that_has_moved(run: InProcess, moved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defined: list[str] = []
    monkeypatch.setattr("libvirt.virConnect.defineXML", lambda conn, text: defined.append(text))
    error = run(f"-H {moved} start web1 -o json", exit=5).json["error"]
    assert "the host needs 5:0:0:0" in error["message"]
    assert not defined
    run(f"-H {moved} start web1 --force-host-device 5:0:0:0")
    [text] = defined
    assert [entry.address for _, entry in given(parse(text))] == ["5:0:0:0"]
    assert 'address="5:0:0:0"' in text
    assert 'address="4:0:7:0"' not in text
    # Of what is nowhere nothing is touched.
    error = run(f"-H {moved} start web2 -o json", exit=5).json["error"]
    assert "4:0:7:0 was X SN-8 when the VM got it" in error["message"]
    assert len(defined) == 1


def test_completion(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    request = {"_KVMCTL_COMPLETE": "zsh_complete", "_KVMCTL_LINE": f"kvmctl -H {host} scsi attach web1 2"}
    assert answer(root, App(), {**request, "_KVMCTL_BREAKS": ""}) == 0
    assert [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()] == [["2:0:0:0", "ACME Disk"]]
