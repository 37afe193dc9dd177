"""Devices kept for VMs from boot on, in a tree of files; a real udev follows the rule in tests/metal."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import KvmctlError, NotFound, Refused
from kvmctl.host.connection import Host
from kvmctl.host.pci import reserving
from kvmctl.host.targets import Target
from kvmctl.parallel import Work
from kvmctl.plan.pci.facts import Need
from kvmctl.plan.pci.reservation import MAKERS, RULES
from tests.plan.pci.world import device, host

GPU, AUDIO, CARD = "0000:3b:00.0", "0000:3b:00.1", "0000:3c:00.0"
HERE = Host(Target("host1", "qemu:///system"), None, events=False)
DEBIAN = MAKERS[0]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with initramfs-tools, whose command does nothing, and a host with three devices."""
    known = host(
        device(GPU, "gpu", group=1),
        device(AUDIO, "audio", group=1),
        device(CARD, "nic", group=2),
    )
    known = replace(known, needs={CARD: (Need(code="route", sentence="the default route leads through it"),)})
    monkeypatch.setattr(reserving, "inventory", lambda host: known)
    monkeypatch.setattr(reserving, "MAKERS", (replace(DEBIAN, command=("true",)), *MAKERS[1:]))
    (tmp_path / DEBIAN.needs.lstrip("/")).parent.mkdir(parents=True)
    (tmp_path / DEBIAN.needs.lstrip("/")).touch()
    return tmp_path


def keep(tree: Path, *words: str, **more: Any) -> dict[str, Any]:
    return reserving.reserve(HERE, words, Work(60.0, threading.Event()), system=tree, **more)


def found(tree: Path) -> dict[str, str]:
    return {str(path.relative_to(tree)): path.read_text() for path in (tree / "etc").rglob("*") if path.is_file()}


def test_it_is_printed_and_nothing_else(tree: Path) -> None:
    said = keep(tree, "gpu")
    assert said["devices"] == [GPU, AUDIO]
    assert (said["changed"], said["installed"], said["command"]) == (False, False, "true")
    assert [file["path"] for file in said["files"]] == [RULES, DEBIAN.file.path]
    assert "0000:3b:00.1 goes along" in str(said["notes"])
    assert found(tree) == {}


def test_it_is_installed_and_taken_away(tree: Path) -> None:
    assert keep(tree, GPU, AUDIO, install=True)["changed"]
    assert set(found(tree)) == {RULES[1:], DEBIAN.file.path[1:]}
    assert (tree / DEBIAN.file.path[1:]).stat().st_mode & 0o777 == 0o755
    assert reserving.reserved_here(tree) == (GPU, AUDIO)
    assert keep(tree)["devices"] == [GPU, AUDIO]
    assert not keep(tree, GPU, AUDIO, install=True)["changed"]
    assert keep(tree, GPU, remove=True, install=True)["devices"] == [AUDIO]
    with pytest.raises(NotFound, match="is not kept"):
        keep(tree, GPU, remove=True, install=True)
    assert keep(tree, AUDIO, remove=True, install=True)["devices"] == []
    assert found(tree) == {}


def test_what_the_host_needs_stays_with_it(tree: Path) -> None:
    with pytest.raises(KvmctlError, match="the default route leads through it"):
        keep(tree, CARD, install=True)
    assert found(tree) == {}
    assert keep(tree, CARD, forced=[CARD])["devices"] == [CARD]


@pytest.mark.parametrize(("command", "code"), [("false", "command-failed"), ("no-such-maker", "resource-missing")])
def test_what_fails_leaves_all_files_as_they_were(
    tree: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: str
) -> None:
    keep(tree, GPU, AUDIO, install=True)
    before = found(tree)
    monkeypatch.setattr(reserving, "MAKERS", (replace(DEBIAN, command=(command,)),))
    for words, more in (((CARD,), {"forced": [CARD]}), ((GPU, AUDIO), {"remove": True})):
        with pytest.raises(KvmctlError) as caught:
            keep(tree, *words, install=True, **more)
        assert caught.value.code == code
        assert found(tree) == before


def test_from_elsewhere() -> None:
    there = Host(Target("host2", "qemu+ssh://host2/system"), None, events=False)
    with pytest.raises(Refused, match="on the host itself"):
        reserving.reserve(there, ["gpu"], Work(60.0, threading.Event()))


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.command[0])
def test_each_maker_of_an_initramfs_is_told(tree: Path, maker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserving, "MAKERS", (maker,))
    (tree / maker.needs.lstrip("/")).mkdir(parents=True, exist_ok=True) if maker is not DEBIAN else None
    said = keep(tree, GPU, AUDIO)
    assert said["command"] == " ".join(maker.command)
    assert RULES in said["files"][1]["text"]
