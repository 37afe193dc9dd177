"""`kvmctl pci mdev list`, `create` and `delete`, and VMs with mdevs: on a stand-in, for there is no real one to have.

See tests/host/pci/nodedev.py.
"""

from __future__ import annotations

from pathlib import Path

import libvirt
import pytest

from tests.commands.conftest import Vms
from tests.conftest import InProcess
from tests.host.pci import nodedev
from tests.host.pci.nodedev import FAR, GPU, KIND, Daemon

FIRST = "c2177883-f1bb-47f0-914d-32a22e3a8804"
SECOND = "d2177883-f1bb-47f0-914d-32a22e3a8804"
HAS = (
    "<devices><hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='{}'/></source></hostdev>"
    "</devices>"
)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return nodedev.install(monkeypatch)


def spec(place: Path, *entries: str) -> Path:
    path = place / "web1.yaml"
    path.write_text(f"name: web1\nmemory: 1GiB\narch: i686\npci: [{', '.join(entries)}]\n")
    return path


def of(vms: Vms, name: str) -> list[str]:
    text = vms.conn.lookupByName(name).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return [part.partition("'")[0] for part in text.partition("<devices>")[2].split("<address uuid='")[1:]]


def test_types_and_what_there_is_of_them(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    daemon.put(FIRST)
    daemon.put(SECOND, card=1, active=False).auto = True
    vms.define("db1", more=HAS.format(FIRST))
    found = run("pci mdev list -o json").json
    names = (KIND, FIRST, "nvidia-36", KIND, SECOND, "nvidia-36")
    assert [item["name"] for item in found] == list(names)
    assert (found[0]["kind"], found[0]["free"], found[0]["title"]) == ("type", 1, "GRID T4-1B")
    assert (found[1]["kind"], found[1]["parent"], found[1]["title"]) == ("mdev", GPU, "GRID T4-1B")
    states = [(item["active"], item["defined"], item["autostart"]) for item in (found[1], found[4])]
    assert states == [(True, True, False), (False, True, True)]
    assert [(user["name"], user["running"]) for user in found[1]["used_by"]] == [("db1", False)]
    assert "db1 (stopped)" in run("pci mdev list").stdout
    assert run("-H test:///default pci list -o json").json[0]["used_by"][0]["name"] == "db1"


def test_one_is_made(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    made = run(f"pci mdev create {KIND} -o json").json
    assert (made["parent"], made["active"], made["defined"], made["changed"]) == (GPU, True, False, True)
    assert daemon.told == ["nodeDeviceCreateXML"]
    near = run(f"pci mdev create {KIND} --node 1 --define -o json").json
    assert (near["parent"], near["defined"], near["autostart"]) == (FAR, True, False)
    kept = run(f"pci mdev create {KIND} --parent 06:00.0 --uuid {FIRST.upper()} --autostart -o json").json
    assert (kept["uuid"], kept["defined"], kept["autostart"]) == (FIRST, True, True)
    assert [(mdev.active, mdev.defined, mdev.auto) for mdev in daemon.mdevs] == [
        (True, False, False),
        (True, True, False),
        (True, True, True),
    ]


def test_one_that_is_there_is_brought_on(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    mdev = daemon.put(FIRST, active=False)
    command = f"pci mdev create {KIND} --uuid {FIRST}"
    assert run(f"{command} --autostart -o json").json["changed"]
    assert (mdev.active, mdev.auto) == (True, True)
    assert not run(f"{command} -o json").json["changed"]
    transient = daemon.put(SECOND, defined=False)
    assert run(f"pci mdev create {KIND} --uuid {SECOND} --define -o json").json["changed"]
    assert (transient.active, transient.defined) == (True, True)
    for other in (f"pci mdev create nvidia-36 --uuid {FIRST}", f"{command} --parent {FAR}"):
        assert run(f"{other} -o json", exit=6).json["error"]["code"] == "mdev-exists"


def test_what_cannot_be_made(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    error = run("pci mdev create nvidia-99 -o json", exit=3).json["error"]
    assert (error["code"], "its types are nvidia-35, nvidia-36" in error["message"]) == ("device-not-found", True)
    assert run("pci mdev create nvidia-36 -o json", exit=5).json["error"]["code"] == "device-not-free"
    assert run(f"pci mdev create {KIND} --parent 07:00.0 -o json", exit=3).json["error"]["code"] == "device-not-found"
    assert "is not a UUID" in run(f"pci mdev create {KIND} --uuid x", exit=2).stderr
    assert daemon.told == []


def test_a_host_without_mdevctl(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    def missing(call: str) -> None:
        text = "Cannot find 'mdevctl' in path: No such file or directory"
        raise nodedev.error(libvirt.VIR_ERR_SYSTEM_ERROR, text)

    daemon.before = missing
    error = run(f"pci mdev create {KIND} -o json", exit=5).json["error"]
    assert (error["code"], "install the package mdevctl" in error["hint"]) == ("resource-missing", True)


def test_what_fails_leaves_nothing(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    def refuse(call: str) -> None:
        if call == "create":
            raise nodedev.error(libvirt.VIR_ERR_INTERNAL_ERROR, "internal error: Unable to create mediated device: no")

    daemon.before = refuse
    run(f"pci mdev create {KIND} --autostart", exit=1)
    assert daemon.mdevs == []
    assert daemon.told == ["nodeDeviceDefineXML", "setAutostart", "setAutostart", "undefine"]


def test_one_is_removed_unless_a_vm_has_it(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    daemon.put(FIRST)
    daemon.put(SECOND, defined=False)
    vms.define("db1", more=HAS.format(FIRST.upper()))
    error = run(f"pci mdev delete {FIRST} -o json", exit=5).json["error"]
    assert (error["code"], "db1 is defined with" in error["message"]) == ("device-refused", True)
    vms.conn.lookupByName("db1").create()
    assert "db1 runs with" in run(f"pci mdev delete {FIRST}", exit=5).stderr
    assert f"{SECOND}: is gone" in run(f"pci mdev delete {SECOND} {FIRST}", exit=9).stderr
    assert [mdev.uuid for mdev in daemon.mdevs] == [FIRST]
    vms.conn.lookupByName("db1").destroy()
    vms.conn.lookupByName("db1").undefine()
    assert run(f"pci mdev delete {FIRST} -o json").json["active"] is False
    assert daemon.mdevs == []
    assert run(f"pci mdev delete {FIRST} -o json", exit=3).json["error"]["code"] == "device-not-found"
    assert "is not a UUID" in run("pci mdev delete nvidia-35", exit=2).stderr


def test_a_vm_gets_a_free_one_or_a_new_one(run: InProcess, vms: Vms, daemon: Daemon, tmp_path: Path) -> None:
    daemon.put(FIRST)
    daemon.put(SECOND)
    vms.define("db1", more=HAS.format(SECOND))
    path = spec(tmp_path, f"{{mdev: {KIND}, count: 2}}")
    said = run(f"create {path}").stderr
    first, second = of(vms, "web1")
    assert first == FIRST
    assert f"{second}, made of {FAR}" in said
    new = daemon.mdevs[-1]
    assert (new.uuid, new.active, new.defined, new.auto) == (second, True, True, True)
    assert daemon.told == ["nodeDeviceDefineXML", "setAutostart", "create"]
    assert f"mdev: {FIRST}" in run("export web1").stdout


def test_a_failed_create_takes_its_mdev_back(run: InProcess, vms: Vms, daemon: Daemon, tmp_path: Path) -> None:
    path = spec(tmp_path, f"{{mdev: {KIND}}}")
    wrong = "raw_xml: <domain><devices><tpm model='nonsense'/></devices></domain>"
    path.write_text(f"{path.read_text()}{wrong}\n")
    run(f"create {path}", exit=1)
    assert daemon.mdevs == []
    assert daemon.told[-1] == "undefine"
    run(f"create {spec(tmp_path, 'mdev:nvidia-36')}", exit=5)
    run(f"create {spec(tmp_path, f'mdev:{FIRST}')}", exit=3)
    assert [domain.name() for domain in vms.conn.listAllDomains()] == ["test"]


def test_one_that_another_was_given_at_the_same_time(run: InProcess, vms: Vms, daemon: Daemon, tmp_path: Path) -> None:
    daemon.put(FIRST)

    def meanwhile(call: str) -> None:
        if call == "create" and "undefine" not in daemon.told:
            vms.define("db1", more=HAS.format(FIRST))

    daemon.before = meanwhile
    run(f"create {spec(tmp_path, f'{{mdev: {KIND}, count: 2}}')}")
    assert daemon.told[3:5] == ["destroy", "setAutostart"]
    assert len(daemon.mdevs) == 3
    assert of(vms, "web1") == [mdev.uuid for mdev in daemon.mdevs if mdev.uuid != FIRST]


def test_a_dry_run_makes_none(run: InProcess, vms: Vms, daemon: Daemon, tmp_path: Path) -> None:
    assert 'model="vfio-pci"' in run(f"create {spec(tmp_path, f'mdev:{KIND}')} --dry-run").stdout
    assert daemon.told == []


def test_a_start_starts_it_and_refuses_another_s(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    mdev = daemon.put(FIRST, active=False)
    vms.define("web1", "web2", more=HAS.format(FIRST))
    run("start web1")
    assert mdev.active
    error = run("start web2 -o json", exit=5).json["error"]
    assert (error["code"], error["reasons"][0]["code"]) == ("device-refused", "device-in-use")
    vms.define("web3", more=HAS.format(SECOND))
    assert run("start web3 -o json", exit=3).json["error"]["code"] == "device-not-found"
    daemon.put(SECOND)
    whole = "<source><address domain='0' bus='6' slot='0' function='0'/></source>"
    device = f"<devices><hostdev mode='subsystem' type='pci' managed='yes'>{whole}</hostdev></devices>"
    vms.define("web4", more=device)
    reasons = run("start web4 -o json", exit=5).json["error"]["reasons"]
    assert any("web1 has it (mdev" in reason["message"] for reason in reasons)


def test_what_is_said_before_it_is_given(run: InProcess, vms: Vms, daemon: Daemon) -> None:
    daemon.put(FIRST)
    vms.define("web1")
    plan = run(f"pci attach web1 mdev:{KIND} --dry-run -o json").json
    assert (plan["devices"], plan["changed"], daemon.told) == ([FIRST], True, [])
    assert run(f"pci attach web1 {FIRST} --vlan 7 -o json", exit=5).json["error"]["code"] == "device-refused"
    vms.define("web2", running=True, more=HAS.format(FIRST))
    assert run(f"pci attach web1 mdev:{FIRST} --next-boot --dry-run -o json").json["changed"]
    assert not run(f"pci attach web2 mdev:{KIND} -o json").json["changed"]
    for word in (FIRST, f"mdev:{FIRST}", f"mdev:{KIND}"):
        assert run(f"pci detach web2 {word} --dry-run -o json").json["devices"] == [FIRST]
    assert run(f"pci detach web1 {FIRST} -o json", exit=3).json["error"]["code"] == "device-not-found"


def test_a_running_vm_is_given_one(run: InProcess, vms: Vms, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test driver cannot attach anything, so what it would be told is what counts."""
    given: list[tuple[str, int]] = []

    def attach(domain: libvirt.virDomain, text: str, flag: int) -> None:
        assert daemon.told[-1] == "create"
        given.append((text, flag))
        if flag == libvirt.VIR_DOMAIN_AFFECT_CONFIG:
            raise nodedev.error(libvirt.VIR_ERR_OPERATION_FAILED, "operation failed: no")

    monkeypatch.setattr(libvirt.virDomain, "attachDeviceFlags", attach)
    vms.define("web1", running=True)
    made = run(f"pci attach web1 mdev:{KIND} --now -o json").json
    assert (made["devices"], made["changed"]) == ([daemon.mdevs[0].uuid], True)
    [(text, flag)] = given
    assert (f'uuid="{daemon.mdevs[0].uuid}"' in text, flag) == (True, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    run(f"pci attach web1 mdev:{KIND} --next-boot", exit=1)  # that one is still nobody's, and was not made for it
    assert [mdev.active for mdev in daemon.mdevs] == [True]
    vms.define("db1", more=HAS.format(daemon.mdevs[0].uuid))
    run(f"pci attach web1 mdev:{KIND} --next-boot", exit=1)
    assert len(given) == 3
    assert len(daemon.mdevs) == 1
