"""Trust and spoof check of virtual functions, on a machine of files with an `ip` that keeps what it is told.

By a real card it is done in tests/metal.
"""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libvirt
import pytest

from kvmctl.errors import KvmctlError, Refused
from kvmctl.host import deeds
from kvmctl.host.connection import Host
from kvmctl.host.pci import assigning, attaching, trusting
from kvmctl.host.pci.trusting import entrust, needed
from kvmctl.host.targets import Target
from kvmctl.host.undoing import Undo
from kvmctl.parallel import Work
from kvmctl.spec import metadata
from kvmctl.spec.model.trust import noted
from kvmctl.spec.xmltext import parse
from tests.host.pci.tree import Tree
from tests.plan.pci import world

CARD, FIRST, SECOND = "0000:03:00.0", "0000:03:10.0", "0000:03:10.2"
HERE = Host(Target("here", "qemu:///system"), None, events=False)
THERE = Host(Target("host2", "qemu+ssh://root@host2/system"), None, events=False)
TRUSTED = {"trust": True, "spoof_check": False}


class Ip:
    """`ip`, and a card's functions: the second is as a VM before has left it."""

    def __init__(self) -> None:
        self.functions: list[dict[str, Any]] = [
            {"vf": 0, "trust": False, "spoofchk": True},
            {"vf": 1, "trust": True, "spoofchk": False},
        ]
        self.said: list[str] = []
        self.fails = ""

    def __call__(self, *words: str) -> str:
        if words[0] == "-j":
            assert words == ("-j", "link", "show", "dev", "eth2")
            return json.dumps([{"ifname": "eth2", "vfinfo_list": self.functions}])
        link, set_, card, vf, number, word, value = words
        assert (link, set_, card, vf) == ("link", "set", "eth2", "vf")
        self.said.append(f"{number} {word} {value}")
        if word == self.fails:
            raise KvmctlError("command-failed", "RTNETLINK answers: Operation not supported")
        self.functions[int(number)][word] = value == "on"
        return ""


@pytest.fixture
def ip(monkeypatch: pytest.MonkeyPatch) -> Ip:
    fake = Ip()
    monkeypatch.setattr(trusting, "ip", fake)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return fake


@pytest.fixture
def system(tmp_path: Path) -> Path:
    tree = Tree(tmp_path)
    place = tree.pci(CARD, "nic")
    tree.card("eth2", CARD)
    for number, address in enumerate((FIRST, SECOND)):
        tree.link(tree.pci(address, "nic") / "physfn", place)
        tree.link(place / f"virtfn{number}", tree.places[address])
    return tmp_path


def test_what_is_set(ip: Ip, system: Path) -> None:
    found = needed(HERE, {FIRST: TRUSTED, SECOND: {}}, vm="web1", system=system)
    assert ip.said == []
    undo: list[Any] = []
    entrust(found, undo.append)
    assert sorted(ip.said) == ["0 spoofchk off", "0 trust on", "1 spoofchk on", "1 trust off"]
    assert needed(HERE, {FIRST: TRUSTED, SECOND: {}}, vm="web1", system=system) == []
    for step in undo:
        step()
    assert ip.functions == Ip().functions


def test_all_of_it_or_nothing(ip: Ip, system: Path) -> None:
    found = needed(HERE, {FIRST: TRUSTED}, vm="web1", system=system)
    ip.fails = "spoofchk"
    with pytest.raises(KvmctlError, match="not supported"), Undo("web1") as undo:
        entrust(found, undo.add)
    assert ip.functions == Ip().functions
    assert ip.said == ["0 trust on", "0 spoofchk off", "0 trust off"]


def test_only_root_can(ip: Ip, system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    # What is as it should be needs nobody to set it.
    assert needed(HERE, {FIRST: {}, SECOND: TRUSTED}, vm="web1", system=system) == []
    with pytest.raises(Refused, match="only root can set eth2 vf 1 trust off") as caught:
        needed(HERE, {SECOND: {"spoof_check": False}}, vm="web1", system=system)
    assert caught.value.hint == "run it with sudo"


def test_elsewhere_it_is_not_set(ip: Ip) -> None:
    safe = {FIRST: {}, SECOND: {"trust": False, "spoof_check": True}}
    assert needed(THERE, safe, vm="web1") == []
    for said in ({"trust": True}, {"spoof_check": False}):
        with pytest.raises(Refused, match=f"of {FIRST} can be set on host2 itself alone") as caught:
            needed(THERE, {FIRST: said}, vm="web1")
        assert (caught.value.code, caught.value.exit_code) == ("not-supported", 5)
        assert "kvmctl pci vfs" in caught.value.hint
    # One that has been stopped to be started again does not stay stopped.
    assert needed(THERE, {FIRST: TRUSTED}, vm="web1", again=True) == []


def test_what_cannot_be_set(ip: Ip, system: Path) -> None:
    assert needed(HERE, {CARD: {}, "0000:99:00.0": {}}, vm="web1", system=system) == []
    with pytest.raises(Refused, match="it is no virtual function") as caught:
        needed(HERE, {CARD: TRUSTED}, vm="web1", system=system)
    assert caught.value.code == "device-refused"
    ip.functions = []  # as of a card whose driver tells nothing, or without one
    with pytest.raises(Refused, match=f"{CARD} has no network interface that can set it"):
        needed(HERE, {FIRST: TRUSTED}, vm="web1", system=system)


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '[{"vfinfo_list": [1]}]', '[{"vfinfo_list": [{}]}]', "null"])
def test_an_ip_that_is_not_understood(ip: Ip, system: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusting, "ip", lambda *words: text)
    with pytest.raises(KvmctlError, match="is not understood"):
        needed(HERE, {FIRST: {}}, vm="web1", system=system)


DEFINITION = f"""
<domain xmlns:kvmctl='{metadata.NAMESPACE}'><name>web1</name>
  <metadata><kvmctl:vm><kvmctl:function address='{FIRST}' trust='yes'/></kvmctl:vm></metadata>
  <devices><interface type='hostdev' managed='yes'><source>
    <address type='pci' domain='0' bus='0x03' slot='0x10' function='0'/></source></interface></devices>
</domain>"""


class Domain:
    """A VM that is off, and that may not want to start."""

    def __init__(self, ip: Ip, text: str = DEFINITION, *, starts: bool = True) -> None:
        self.ip, self.text, self.starts = ip, text, starts
        self.trusted: bool | None = None

    def name(self) -> str:
        return "web1"

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return False

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        return self.text

    def createWithFlags(self, flags: int) -> None:  # noqa: N802
        self.trusted = self.ip.functions[0]["trust"]
        if not self.starts:
            raise libvirt.libvirtError("it does not start")


@pytest.fixture
def looked(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assigning, "look", lambda *arguments, **more: ())
    own = trusting.needed
    monkeypatch.setattr(trusting, "needed", lambda *arguments, **more: own(*arguments, **more, system=system))


@pytest.mark.usefixtures("looked")
def test_it_is_set_before_the_start_and_back_if_that_fails(ip: Ip) -> None:
    domain: Any = Domain(ip)
    assert deeds.start(HERE, domain) == ""
    assert (domain.trusted, ip.functions[0]["trust"]) == (True, True)
    ip.functions[0]["trust"] = False
    domain = Domain(ip, starts=False)
    with pytest.raises(KvmctlError):
        deeds.start(HERE, domain)
    assert (domain.trusted, ip.functions[0]["trust"]) == (True, False)


@pytest.mark.usefixtures("looked")
def test_a_start_elsewhere_is_refused_before_it(ip: Ip) -> None:
    domain: Any = Domain(ip)
    with pytest.raises(Refused, match="trust: true of"):
        deeds.start(THERE, domain)
    assert (domain.trusted, ip.said) == (None, [])


def test_a_vm_without_functions_asks_nobody(ip: Ip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusting, "ip", None)
    monkeypatch.setattr(assigning, "look", lambda *arguments, **more: ())
    plain = "<domain><devices><interface type='bridge'/><hostdev type='pci'>{}</hostdev></devices></domain>"
    device = "<source><address domain='0' bus='0x03' slot='0x10' function='0x2'/></source>"
    domain: Any = Domain(ip, plain.format(device))
    assert deeds.start(HERE, domain) == ""


class Given:
    """A VM that runs, and what it was given; with `full` it takes nothing."""

    def __init__(self, ip: Ip, *, full: bool = False) -> None:
        self.ip, self.full = ip, full
        self.given: list[tuple[int, bool]] = []

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return "u"

    def attachDeviceFlags(self, text: str, flag: int) -> None:  # noqa: N802
        assert "<interface" in text
        self.given.append((flag, self.ip.functions[0]["trust"]))
        if self.full:
            raise libvirt.libvirtError("no")

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        return "<domain/>"


LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG


@pytest.mark.parametrize(
    ("running", "full", "dry_run", "given", "trusted", "kept"),
    [
        (True, False, False, [(LIVE, True), (CONFIG, True)], True, {FIRST: {"trust": True}}),
        (False, False, False, [(CONFIG, False)], False, {FIRST: {"trust": True}}),
        (True, True, False, [(LIVE, True)], False, {}),
        (True, False, True, [], False, {}),
    ],
)
@pytest.mark.usefixtures("looked")
def test_a_function_that_is_given_to_a_vm(
    ip: Ip,
    monkeypatch: pytest.MonkeyPatch,
    running: bool,
    full: bool,
    dry_run: bool,
    given: list[tuple[int, bool]],
    trusted: bool,
    kept: dict[str, dict[str, bool]],
) -> None:
    domain, definition = Given(ip, full=full), parse("<domain/>")
    documents = [definition, parse("<domain/>")] if running else [definition]
    found = SimpleNamespace(
        domain=domain,
        name="web1",
        running=documents[1] if running else None,
        definition=definition,
        documents=documents,
    )
    monkeypatch.setattr(attaching, "Configurations", lambda *arguments, **more: found)
    monkeypatch.setattr(attaching, "inventory", lambda host: world.host(world.device(FIRST, physical_function=CARD)))
    monkeypatch.setattr(attaching, "judged", lambda *arguments, **more: ())
    monkeypatch.setattr(attaching, "answer", lambda *arguments, **more: {})
    monkeypatch.setattr(attaching, "needed", trusting.needed)
    monkeypatch.setattr(attaching, "redefine", lambda domain, edit: edit(definition))
    work, said = Work(60, threading.Event()), {"trust": True}
    with pytest.raises(KvmctlError) if full else nullcontext():
        attaching.attach(HERE, "web1", [FIRST], work, said=said, dry_run=dry_run)
    assert (domain.given, ip.functions[0]["trust"], noted(definition)) == (given, trusted, kept)
