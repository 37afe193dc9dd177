"""`kvmctl usb list`, `attach` and `detach` on a host of libvirt's test driver that has USB devices.

Real ones are given in tests/metal.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmctl.app import App
from kvmctl.cli import root
from kvmctl.completion import answer
from tests.commands.plugs import CONFIG, LIVE, SYSTEM, Plugs, domain
from tests.conftest import InProcess

BASE = "/sys/devices/pci0000:00/0000:00:14.0/usb1"
PORTS = {
    "1-1": (7, "046d", "c52b", "Receiver"),
    "1-2": (8, "0781", "5567", "Stick"),
    "1-3": (9, "0403", "6001", "Serial"),
    "1-4": (10, "0403", "6001", "Serial"),
}
DISK = f"""<device><name>block_sdb</name><path>{BASE}/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb</path>
<parent>computer</parent><capability type='storage'><block>/dev/sdb</block><bus>usb</bus><drive_type>disk</drive_type>
<size>1024</size></capability></device>"""
HELD = """<devices><hostdev mode='subsystem' type='usb' managed='yes'><source>
<vendor id='0x0403'/><product id='0x6001'/><address bus='1' device='10'/></source></hostdev></devices>"""


def stick(port: str, number: int, vendor: str, product: str, name: str) -> str:
    return (
        f"<device><name>usb_{port.replace('-', '_')}</name><path>{BASE}/{port}</path><parent>computer</parent>"
        f"<capability type='usb_device'><bus>1</bus><device>{number}</device><product id='0x{product}'>{name}</product>"
        f"<vendor id='0x{vendor}'>Acme</vendor></capability></device>"
    )


@pytest.fixture
def host(tmp_path: Path) -> str:
    """The URI of a host with web1, which runs, web2, which runs with 1-4, web3, which is off; and USB devices."""
    vms = domain(1) + domain(2, HELD) + domain(3, "<test:runstate>5</test:runstate>")
    sticks = "".join(stick(port, *told) for port, told in PORTS.items())
    path = tmp_path / "host.xml"
    path.write_text(f"<node>{vms}{SYSTEM}{stick('usb1', 1, '1d6b', '0002', 'hub')}{sticks}{DISK}</node>")
    return f"test://{path}"


def test_the_devices_of_a_host(run: InProcess, host: str) -> None:
    found = {item["port"]: item for item in run(["usb", "list", host, "-o", "json"]).json}
    assert found.keys() == PORTS.keys()
    assert (found["1-1"]["verdict"], found["1-1"]["device"], found["1-1"]["product"]) == ("free", 7, "c52b")
    assert (found["1-2"]["verdict"], found["1-2"]["blocks"]) == ("needed", ["sdb"])
    assert found["1-4"]["verdict"] == "in-use"
    assert [user["name"] for user in found["1-4"]["used_by"]] == ["web2"]
    assert run(f"-H {host} usb list --free -o name").stdout.split() == ["1-1", "1-3"]
    shown = run(f"-H {host} usb list")
    assert shown.stdout.split("\n")[0].split() == ["PORT", "BUS:DEV", "IDS", "DEVICE", "VERDICT", "USED", "BY"]
    assert "counts as needed" in shown.stderr
    assert "named twice" in run(f"-H {host} usb list {host}", exit=2).stderr


def test_a_device_is_given_and_taken(run: InProcess, host: str, plugs: Plugs) -> None:
    for word in ("046d:c52b", "1:7", "1-1"):
        given = run(f"-H {host} usb attach web1 {word} -o json").json
        assert (given["changed"], given["now"], given["next_boot"], given["devices"]) == (True, True, True, ["1-1"])
        for flag in (LIVE, CONFIG):
            assert plugs.of(1, flag) == [{"vendor": "0x046d", "product": "0xc52b"}]
        assert run(f"-H {host} usb attach web1 1-1 001:007 -o json").json["changed"] is False
        taken = run(f"-H {host} usb detach web1 {word} -o json").json
        assert (taken["changed"], taken["devices"]) == (True, ["1-1"])
        assert plugs.of(1, LIVE) == plugs.of(1, CONFIG) == []


def test_one_configuration_alone(run: InProcess, host: str, plugs: Plugs) -> None:
    run(f"-H {host} usb attach web1 1-1 --now")
    assert (len(plugs.of(1, LIVE)), len(plugs.of(1, CONFIG))) == (1, 0)
    said = run(f"-H {host} usb attach web1 1-1 --next-boot --dry-run").stderr
    assert "web1: would have 1-1, from its next boot on" in said
    run(f"-H {host} usb attach web1 1-1 --next-boot")
    run(f"-H {host} usb detach web1 1-1 --now")
    assert (len(plugs.of(1, LIVE)), len(plugs.of(1, CONFIG))) == (0, 1)
    assert "would give back" in run(f"-H {host} usb detach web1 1-1 --next-boot --dry-run").stderr
    run(f"-H {host} usb detach web1 1-1 --next-boot")
    assert plugs.of(1, CONFIG) == []
    for verb in ("attach", "detach"):
        assert "exclude each other" in run(f"-H {host} usb {verb} web1 1-1 --now --next-boot", exit=2).stderr
    assert run(f"-H {host} usb attach web3 1-1 --now -o json", exit=5).json["error"]["code"] == "vm-not-running"


def test_one_of_several_alike_is_kept_by_its_place(run: InProcess, host: str, plugs: Plugs) -> None:
    error = run(f"-H {host} usb attach web1 0403:6001 -o json", exit=5).json["error"]
    assert (error["code"], "1:9 (port 1-3), 1:10 (port 1-4)" in error["message"]) == ("device-ambiguous", True)
    given = run(f"-H {host} usb attach web1 1:9 -o json").json
    assert "1:10 is 0403:6001 too" in given["notes"][0]
    assert plugs.of(1, CONFIG) == [{"vendor": "0x0403", "product": "0x6001", "address": "1:9"}]


def test_what_is_refused(run: InProcess, host: str, plugs: Plugs) -> None:
    error = run(f"-H {host} usb attach web1 1-1 0781:5567 1-4 -o json", exit=5).json["error"]
    assert (error["code"], error["vm"]) == ("device-refused", "web1")
    assert [reason["code"] for reason in error["reasons"]] == ["host-needs-device", "device-in-use"]
    assert not plugs.held
    run(f"-H {host} usb attach web1 1-2 --force-host-device 1-2")
    assert len(plugs.of(1, LIVE)) == 1
    # For the next boot alone it may be another's now.
    run(f"-H {host} usb attach web3 1-4")
    assert run(f"-H {host} start web3 -o json", exit=5).json["error"]["code"] == "device-refused"


def test_all_or_none(run: InProcess, host: str, plugs: Plugs) -> None:
    plugs.fails = 3
    error = run(f"-H {host} usb attach web1 1-1 1-3 -o json", exit=5).json["error"]
    assert (error["code"], "qemu-xhci" in error["hint"]) == ("no-free-port", True)
    assert (plugs.calls, plugs.of(1, LIVE), plugs.of(1, CONFIG)) == (3, [], [])


def test_what_is_not_there(run: InProcess, host: str, plugs: Plugs) -> None:
    assert run(f"-H {host} usb attach web1 1234:5678 -o json", exit=3).json["error"]["code"] == "device-not-found"
    assert run(f"-H {host} usb attach nosuch 1-1 -o json", exit=3).json["error"]["code"] == "vm-not-found"
    error = run(f"-H {host} usb detach web1 1-1 -o json", exit=3).json["error"]
    assert (error["code"], "it has none" in error["message"]) == ("device-not-found", True)
    assert "it has 0403:6001 1:10" in run(f"-H {host} usb detach web2 1-1", exit=3).stderr
    for word in ("keyboard", "3b:00.0", "usb1", "1:0"):
        assert "is no USB device" in run(f"-H {host} usb attach web1 {word}", exit=2).stderr
        assert "is no USB device" in run(f"-H {host} usb detach web1 {word}", exit=2).stderr
    for word in ("0000:3b:00.0", "046d:c52b", "1:7"):
        assert "is not a port of a USB bus" in run(f"usb attach web1 1-1 --force-host-device {word}", exit=2).stderr


def test_ports_of_a_spec(run: InProcess, host: str, tmp_path: Path) -> None:
    spec = tmp_path / "web9.yaml"
    spec.write_text("name: web9\nmemory: 64MiB\nusb: [1-1]\n")
    assert "can only be told by the host" in run(f"xml {spec} --offline", exit=5).stderr
    made = run(f"-H {host} create {spec} --dry-run -o json").json
    assert '<vendor id="0x046d"' in made["xml"]
    spec.write_text("name: web9\nmemory: 64MiB\nusb: ['0403:6001']\n")
    assert run(f"-H {host} create {spec} -o json", exit=5).json["error"]["code"] == "device-ambiguous"
    spec.write_text("name: web9\nmemory: 64MiB\nusb: [1-2]\n")
    assert run(f"-H {host} create {spec} -o json", exit=5).json["error"]["code"] == "device-refused"
    run(f"-H {host} create {spec} --dry-run --force-host-device 1-2")


def test_completion(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    request = {
        "_KVMCTL_COMPLETE": "zsh_complete",
        "_KVMCTL_LINE": f"kvmctl -H {host} usb attach web1 1-",
        "_KVMCTL_BREAKS": "",
    }
    assert answer(root, App(), request) == 0
    assert [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()] == [
        ["1-1", "Receiver"],
        ["1-2", "Stick"],
        ["1-3", "Serial"],
        ["1-4", "Serial"],
    ]
