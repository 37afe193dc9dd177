"""`kvmctl pci attach`, `detach`, `vfs`, `reserve` and `release`: what is refused before any device is looked at, or
where there is none. Real devices are given and taken in tests/metal.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmctl.errors import Conflict
from kvmctl.host import create
from kvmctl.host.connection import Host
from kvmctl.host.pci import assigning
from kvmctl.host.pci.assigning import check_unshared
from kvmctl.host.settling import Decided
from kvmctl.host.targets import Target
from tests.commands.conftest import HOST, Vms
from tests.conftest import InProcess

NONE = "-H test:///default"


def test_the_group(run: InProcess) -> None:
    assert "Explain PCI devices" in run("pci --help").stdout


def test_a_device_to_be_taken_is_named_in_full(run: InProcess) -> None:
    for command in (
        "start web1 --force-host-device 3b:00",
        "create web1.yaml --force-host-device 3b:00",
        "pci attach web1 gpu --force-host-device 3b:00",
        "pci attach web1 gpu --force-host-device 1-1.4",
        "pci reserve gpu --force-host-device 1-1.4",
    ):
        assert "write bus, slot and function" in run(command, exit=2).stderr


def test_what_is_not_there_is_not_given(run: InProcess) -> None:
    for command in (
        f"{NONE} pci attach test 3b:00.0 -o json",
        f"{NONE} pci attach test gpu --next-boot -o json",
        f"{NONE} pci attach test vf_of:eth9 --mac 52:54:00:00:00:01 --vlan 7 --now -o json",
        f"{NONE} pci attach test vf_of:eth9 --trust on --spoof-check off -o json",
        f"{NONE} pci attach test eth2 --dry-run -o json",
    ):
        error = run(command, exit=3).json["error"]
        assert (error["code"], error["vm"]) == ("device-not-found", "test")
    assert run(f"{NONE} pci attach nosuch gpu -o json", exit=3).json["error"]["code"] == "vm-not-found"
    assert "'1' is not a MAC address" in run(f"{NONE} pci attach test eth2 --mac 1", exit=2).stderr


def test_what_a_vm_does_not_have_is_not_taken(run: InProcess) -> None:
    for command in (
        f"{NONE} pci detach test 3b:00.0 -o json",
        f"{NONE} pci detach test eth2 --next-boot -o json",
        f"{NONE} pci detach test 3b:00.0 --now --dry-run -o json",
    ):
        error = run(command, exit=3).json["error"]
        assert error["code"] == "device-not-found"
        assert "it has none" in error["message"]


def test_now_and_the_next_boot_exclude_each_other(run: InProcess) -> None:
    for command in ("pci attach test gpu --now --next-boot", "pci detach test gpu --now --next-boot"):
        assert "exclude each other" in run(f"{NONE} {command}", exit=2).stderr


@pytest.mark.parametrize("words", ["eth2", "eth2 4 --vf 1", "eth2 --vf 1", "eth2 4 --trust on", "eth2 -1"])
def test_either_how_many_functions_or_which(run: InProcess, words: str) -> None:
    assert run(f"{NONE} pci vfs {words}", exit=2).stderr.startswith("error:")


def test_functions_are_changed_on_the_host_itself(run: InProcess) -> None:
    for words in ("eth2 4 --boot", "eth2 --vf 0 --mac 52:54:00:00:00:01 --vlan 7 --spoof-check off --trust on"):
        error = run(f"{NONE} pci vfs {words} -o json", exit=5).json["error"]
        assert (error["code"], "kvmctl pci vfs eth2" in error["hint"]) == ("not-supported", True)


def test_devices_are_kept_on_the_host_itself(run: InProcess) -> None:
    for command in (
        f"{NONE} pci reserve gpu --install -o json",
        f"{NONE} pci reserve 3b:00.0 --remove --force-host-device 3b:00.0 -o json",
    ):
        assert run(command, exit=5).json["error"]["code"] == "not-supported"
    assert "say which devices" in run(f"{NONE} pci reserve --install", exit=2).stderr


def test_what_is_not_there_is_not_released(run: InProcess) -> None:
    assert run(f"{NONE} pci release 3b:00.0 -o json", exit=3).json["error"]["code"] == "device-not-found"
    run(f"{NONE} pci release 3b:00.0 3c:00.0", exit=9)


def test_two_vms_that_were_given_one_device(vms: Vms) -> None:
    source = "<source><address domain='0' bus='0x3b' slot='0' function='0'/></source>"
    device = f"<devices><hostdev mode='subsystem' type='pci' managed='yes'>{source}</hostdev></devices>"
    uuid = vms.define("web1", "web2", more=device).UUIDString()
    host = Host(Target(HOST, HOST), vms.conn, events=False)
    with pytest.raises(Conflict, match="web1 was given ") as caught:
        check_unshared(host, uuid, {"0000:3b:00.0"})
    assert (caught.value.code, caught.value.hint) == ("devices-taken", "create it again")
    check_unshared(host, uuid, {"0000:3c:00.0"})
    check_unshared(host, uuid, set())


def test_trust_is_kept_with_a_vm_and_refused_where_nobody_can_set_it(
    run: InProcess, vms: Vms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "decide", lambda host, vm, *arguments, **more: Decided(vm=vm))
    monkeypatch.setattr(assigning, "look", lambda *arguments, **more: ())
    spec = tmp_path / "web1.yaml"
    card = "{hostdev: 3b:10.0, mac: 52:54:00:00:00:01, trust: true, spoof_check: false}"
    spec.write_text(f"name: web1\nmemory: 64MiB\nnetworks: [{card}]\n")
    for command in (f"create {spec} --start -o json", f"create {spec} --start --dry-run -o json"):
        error = run(command, exit=5).json["error"]
        assert (error["code"], "trust: true and spoof_check: false of 0000:3b:10.0" in error["message"]) == (
            "not-supported",
            True,
        )
        assert run("show web1 -o json", exit=3).json["error"]["code"] == "vm-not-found"
    run(f"create {spec}")
    assert "trust: true" in run("export web1").stdout
    assert "spoof_check: false" in run("export web1").stdout
    assert "start it there" in run("start web1 -o json", exit=5).json["error"]["hint"]
    # One that asks for nothing is not held up.
    spec.write_text("name: web2\nmemory: 64MiB\nnetworks: [{hostdev: 3b:10.2, trust: false}]\n")
    run(f"create {spec}")
    run("start web2")
