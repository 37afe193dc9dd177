"""Journals: kept whole, for their owner alone, and nobody's when that is dead."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kvmctl.errors import Conflict, KvmctlError
from kvmctl.host.migration import journal as journals
from kvmctl.host.migration.journal import Journal

ENTRY = Journal(
    uuid="5f0f7f9e-1b8d-4b58-9f38-3c2a3b1d8f10",
    name="web1",
    source_uri="qemu+tcp://host1/system",
    target_uri="qemu+tcp://host2/system",
    source_name="host1",
    target_name="host2",
    started="2025-01-01T00:00:00Z",
    persistent=True,
    peer_uri="qemu+tcp://host2/system",
    made=("/var/lib/libvirt/images/web1.qcow2",),
)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KVMCTL_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state/migrations"


def dead() -> tuple[int, int]:
    """A process that was."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        born = journals._born(process.pid)
    assert born
    return process.pid, born


def left_by(pid: int, born: int, directory: Path) -> None:
    """Have the journal be that of another process."""
    journals.write(ENTRY)
    path = directory / f"{ENTRY.uuid}.json"
    text = path.read_text()
    path.write_text(
        text.replace(f'"pid": {os.getpid()}', f'"pid": {pid}').replace(
            f'"born": {journals._born(os.getpid())}', f'"born": {born}'
        )
    )


def test_what_is_written_is_read(directory: Path) -> None:
    ours = journals.write(ENTRY)
    assert journals.read(ENTRY.uuid) == ours == replace(ENTRY, pid=os.getpid(), born=ours.born)
    assert journals.alive(ours)
    further = journals.step(ours, "moving", flags=25)
    assert journals.all_journals() == (further,)
    assert (further.step, further.flags, further.made) == ("moving", 25, ENTRY.made)
    [path] = directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    journals.remove(further)
    assert journals.read(ENTRY.uuid) is None
    assert journals.all_journals() == ()
    journals.remove(further)


def test_a_note_keeps_what_others_have_noted(directory: Path) -> None:
    ours = journals.write(ENTRY)
    journals.step(ours, "postcopy", flags=25)
    noted = journals.note(ours, held=True)
    assert (noted.step, noted.flags, noted.held) == ("postcopy", 25, True)
    assert journals.read(ENTRY.uuid) == noted


def test_one_that_is_alive_is_left_to_its_owner(directory: Path) -> None:
    parent = os.getppid()
    left_by(parent, journals._born(parent), directory)
    for refuse, what in ((journals.claim, ENTRY), (journals.refuse_taken, ENTRY.uuid)):
        with pytest.raises(Conflict) as refused:
            refuse(what)  # type: ignore[arg-type]
        assert refused.value.code == "migration-under-way"
        assert refused.value.hint == "kvmctl migrate --cancel web1"


def test_one_whose_owner_is_dead_is_claimed(directory: Path) -> None:
    left_by(*dead(), directory)
    with pytest.raises(Conflict) as refused:
        journals.refuse_taken(ENTRY.uuid)
    assert refused.value.hint == "kvmctl migrate --recover web1"
    ours = journals.claim(ENTRY)
    assert ours is not None
    assert ours.pid == os.getpid()
    assert journals.claim(ENTRY) == ours


def test_a_process_of_the_same_number_is_not_the_owner(directory: Path) -> None:
    parent = os.getppid()
    left_by(parent, journals._born(parent) + 1, directory)
    ours = journals.claim(ENTRY)
    assert ours is not None
    assert ours.pid == os.getpid()


def test_one_that_was_settled_meanwhile_is_nobodys(directory: Path) -> None:
    assert journals.claim(ENTRY) is None


def test_what_a_newer_kvmctl_has_noted_does_no_harm(directory: Path) -> None:
    journals.write(ENTRY)
    path = directory / f"{ENTRY.uuid}.json"
    path.write_text(path.read_text().replace('"name"', '"colour": "blue",\n "name"'))
    found = journals.read(ENTRY.uuid)
    assert found is not None
    assert found.name == "web1"


def test_a_broken_one_is_told_with_its_place(directory: Path) -> None:
    journals.write(ENTRY)
    path = directory / f"{ENTRY.uuid}.json"
    path.write_text("{")
    with pytest.raises(KvmctlError, match="not the journal of a migration") as broken:
        journals.all_journals()
    assert str(path) in broken.value.message
