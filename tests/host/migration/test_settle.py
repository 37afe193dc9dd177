"""Settling on hosts that are played: what is done in which order, what is told, and that every wait ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import HostUnreachable, KvmctlError
from kvmctl.host.migration import journal as journals
from kvmctl.host.migration import settle as module
from kvmctl.host.migration.journal import Journal
from kvmctl.host.migration.settle import Settled, settle
from kvmctl.host.targets import Target
from kvmctl.parallel import Work
from kvmctl.plan.migration.settle import End, Side, State
from kvmctl.spec.metadata import NAMESPACE
from tests.host.migration.test_journal import ENTRY

MOVING = replace(ENTRY, step="moving", made=())


class World:
    """Two hosts. `deeds` are those done, in order; what is in `stubborn` fails."""

    def __init__(self, source: State, target: State, *, job: bool = False) -> None:
        self.ends: dict[Side, End] = {
            "source": End(state=source, persistent=source != "absent", job=job),
            "target": End(state=target, persistent=target == "off"),
        }
        self.deeds: list[str] = []
        self.stubborn: set[str] = set()
        self.definition = "<domain/>"
        self.given: list[str] = []
        self.looks = 0
        self.later: dict[int, Callable[[], object]] = {}
        """What happens by itself at the n-th look."""

    def __call__(self, journal: Journal) -> World:
        return self

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set(self, side: Side, state: State, *, job: bool = False) -> None:
        self.ends[side] = replace(self.ends[side], state=state, job=job)

    def look(self, side: Side, seconds: float) -> End:
        self.looks += side == "source"
        if side == "source" and self.looks in self.later:
            self.later.pop(self.looks)()
        return self.ends[side]

    def sample(self) -> None:
        return None

    def _deed(self, verb: str, side: Side, **changes: Any) -> None:
        self.deeds.append(f"{verb} {side}")
        if f"{verb} {side}" in self.stubborn:
            raise KvmctlError("libvirt-failed", "it does not want to")
        self.ends[side] = replace(self.ends[side], **changes)

    def resume(self, side: Side) -> None:
        self._deed("resume", side, state="running")

    def destroy(self, side: Side) -> None:
        self._deed("destroy", side, state="off" if self.ends[side].persistent else "absent", job=False)

    def abort(self, side: Side) -> None:
        self._deed("abort", side, job=False)

    def define(self, side: Side) -> None:
        self._deed("define", side, persistent=True)

    def autostart(self, side: Side) -> None:
        self._deed("autostart", side, autostart=True)

    def undefine(self, side: Side) -> None:
        self._deed("undefine", side, state="absent", persistent=False)

    def unlimit(self, side: Side, speed: int) -> None:
        self._deed(f"limit {speed} at", side)

    @property
    def targets(self) -> dict[Side, Target]:
        return {"source": Target("host1", "test:///default"), "target": Target("host2", "test:///default")}

    def act(self, side: Side, deed: Callable[[Any], object]) -> None:
        self._deed("plug at", side)
        deed(self)

    @property
    def conn(self) -> World:
        return self

    def lookupByUUIDString(self, uuid: str) -> World:  # noqa: N802 - libvirt's name
        return self

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        return self.definition

    def attachDeviceFlags(self, text: str, flag: int) -> None:  # noqa: N802
        self.given.append(text)

    def clean(self, made: tuple[str, ...]) -> None:
        self._deed(f"remove {','.join(made)} at", "target")


@pytest.fixture(autouse=True)
def hurry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVMCTL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(module, "BEAT", 0.001)
    monkeypatch.setattr(module, "PACE", {})
    monkeypatch.setattr(module, "STILL_SECONDS", 0.05)


def settled(world: World, monkeypatch: pytest.MonkeyPatch, journal: Journal = MOVING, silent: float = 0.02) -> Settled:
    monkeypatch.setattr(module, "Sides", world)
    entry = journals.write(journal)
    return settle(entry, Work(60, threading.Event()), silent=silent)


def test_all_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("absent", "running")
    world.ends["target"] = End(state="running", persistent=True)
    found = settled(world, monkeypatch)
    assert (found.outcome, found.state, found.notes, world.deeds) == ("moved", "running", (), [])
    assert journals.all_journals() == ()


def test_a_safe_switch_ends_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target is let run when the source is off, and not before; the definition here goes last."""
    world = World("off", "paused")
    world.ends["target"] = End(state="paused", persistent=True)
    found = settled(world, monkeypatch, replace(MOVING, safe_switch=True, autostart=True))
    assert world.deeds == ["resume target", "autostart target", "undefine source"]
    assert (found.outcome, found.state, found.notes) == ("moved", "running", ())
    assert found.resumed_at is not None


def test_that_the_target_may_run_is_noted_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("off", "paused")
    world.stubborn.add("resume target")
    with pytest.raises(HostUnreachable) as failed:
        settled(world, monkeypatch, replace(MOVING, safe_switch=True))
    assert failed.value.code == "migration-unsettled"
    [left] = journals.all_journals()
    assert left.step == "arrived"
    assert world.deeds == ["resume target"] * 3


def test_nobody_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("migrating", "migrating")
    found = settled(world, monkeypatch)
    assert world.deeds == ["destroy target", "resume source"]
    assert (found.outcome, found.state) == ("stayed", "running")
    assert found.notes == (
        "ended the copy at host2, since not all of it has arrived there, or it was not let run",
        "let it go on at host1, since nothing has arrived at the target",
    )


def test_a_copy_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("migrating", "running")
    world.ends["target"] = End(state="running", persistent=True)
    found = settled(world, monkeypatch)
    assert world.deeds == ["destroy source", "undefine source"]
    assert found.outcome == "moved"


def test_a_limit_that_was_set_under_way_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("running", "absent")
    world.stubborn.add("limit 100 at source")
    assert settled(world, monkeypatch, replace(MOVING, speed=100)).outcome == "stayed"
    assert world.deeds == ["limit 100 at source"]


CARD = (
    '<interface type="hostdev" managed="yes"><source>'
    '<address type="pci" domain="0x0000" bus="0x01" slot="0x10" function="0x0"/></source></interface>'
)


def test_what_the_guest_let_go_of_is_plugged_in_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = replace(MOVING, unplugged=((CARD, "0000:01:10.2"),))
    world = World("absent", "running")
    world.ends["target"] = End(state="running", persistent=True)
    found = settled(world, monkeypatch, let_go)
    assert (world.deeds, found.notes) == (["plug at target"], ("plugged in 0000:01:10.2 of host2",))
    world = World("running", "absent")
    found = settled(world, monkeypatch, let_go)
    assert (world.deeds, found.notes) == (["plug at source"], ("plugged in 0000:01:10.0 of host1",))
    world = World("running", "absent")
    world.stubborn.add("plug at source")
    [note] = settled(world, monkeypatch, let_go).notes
    assert "kvmctl pci attach web1 0000:01:10.0" in note
    assert world.given == []
    world = World("off", "absent")
    assert settled(world, monkeypatch, let_go).notes == ()
    assert world.deeds == []


def test_what_the_guest_holds_on_to_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("running", "absent")
    world.definition = f"<domain><devices>{CARD}</devices></domain>"
    [note] = settled(world, monkeypatch, replace(MOVING, unplugged=((CARD, "0000:01:10.2"),))).notes
    assert note == (
        "the guest has not let go of 0000:01:10.0 of host1; should it do so yet: kvmctl pci attach web1 0000:01:10.0"
    )
    assert world.given == []


def test_that_nobody_trusts_it_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = replace(MOVING, unplugged=((CARD, "0000:01:10.2"),))
    world = World("absent", "running")
    world.ends["target"] = End(state="running", persistent=True)
    kept = "<f:vm><f:function address='0000:01:10.2' trust='yes'/></f:vm>"
    world.definition = f"<domain xmlns:f='{NAMESPACE}'><metadata>{kept}</metadata></domain>"
    [note] = settled(world, monkeypatch, let_go).notes
    assert note == (
        "plugged in 0000:01:10.2 of host2, without trust: true: kvmctl pci vfs CARD --vf I … on host2 itself sets it"
    )
    assert 'function="0x2"' in world.given[0]
    # At the source it is what it was.
    world.ends["source"], world.ends["target"] = End(state="running", persistent=True), End(state="absent")
    assert settled(world, monkeypatch, let_go).notes == ("plugged in 0000:01:10.0 of host1",)


@pytest.mark.parametrize("silent", ["source", "target"])
def test_a_silent_host_is_waited_for_and_then_nothing_is_done(silent: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("running", "running")
    world.set(silent, "unknown")
    with pytest.raises(HostUnreachable) as failed:
        settled(world, monkeypatch)
    assert failed.value.code == "migration-unsettled"
    assert failed.value.hint == "kvmctl migrate --recover web1, when both hosts answer"
    assert f"the {silent} cannot be asked" in failed.value.message
    assert world.deeds == []
    assert world.looks > 1
    assert len(journals.all_journals()) == 1


@pytest.mark.parametrize(("still", "silent"), [(0.0, 4.0), (25.0, 4.0), (31.0, 2.0), (60.0, 1.0)])
def test_a_link_that_was_cut_is_not_waited_for_twice(still: float, silent: float) -> None:
    assert module.patience(still) == silent


def test_a_host_that_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("running", "unknown")
    world.later[3] = lambda: world.set("target", "absent")
    assert settled(world, monkeypatch, silent=30).outcome == "stayed"


def test_after_post_copy_has_begun_a_host_gets_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POSTCOPY_SECONDS", 30.0)
    world = World("off", "unknown")
    world.later[40] = lambda: world.set("target", "running")
    assert settled(world, monkeypatch, replace(MOVING, step="postcopy"), silent=0.0).outcome == "moved"


def test_a_job_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("running", "migrating", job=True)

    def arrive() -> None:
        world.set("source", "absent")
        world.ends["target"] = End(state="running", persistent=True)

    world.later[3] = arrive
    assert settled(world, monkeypatch).outcome == "moved"
    assert world.deeds == []


def test_a_job_that_stands_still_is_called_off(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("running", "migrating", job=True)
    found = settled(world, monkeypatch)
    assert world.deeds == ["abort source", "destroy target"]
    assert (found.outcome, found.state) == ("stayed", "running")


def test_post_copy_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("postcopy-failed", "postcopy-failed")
    tried = []

    def take_up(sides: object, journal: Journal) -> None:
        tried.append(journal.uuid)
        if len(tried) < 3:
            raise KvmctlError("libvirt-failed", "the migration is still running")
        world.set("source", "off")
        world.ends["target"] = End(state="running", persistent=True)

    monkeypatch.setattr(module, "take_up", take_up)
    found = settled(world, monkeypatch, replace(MOVING, step="postcopy"))
    assert len(tried) == 3
    assert (found.outcome, found.notes) == ("moved", ("took post-copy up again",))
    assert world.deeds == ["undefine source"]


@pytest.mark.parametrize(
    ("source", "target", "hint"),
    [
        ("postcopy-failed", "absent", "kvmctl start web1 -H host1"),
        ("absent", "postcopy-failed", "kvmctl restart --force web1 -H host2"),
    ],
)
def test_memory_that_is_lost_is_said(source: State, target: State, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(source, target)
    with pytest.raises(KvmctlError) as failed:
        settled(world, monkeypatch, replace(MOVING, step="postcopy"))
    assert (failed.value.code, failed.value.hint) == ("postcopy-failed", hint)
    assert journals.all_journals() == ()


def test_what_was_made_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("running", "absent")
    settled(world, monkeypatch, ENTRY)
    assert world.deeds == ["remove /var/lib/libvirt/images/web1.qcow2 at target"]


@pytest.mark.parametrize(
    ("deed", "source", "target"),
    [("undefine source", "off", "running"), ("undefine target", "running", "off"), ("define target", "off", "running")],
)
def test_what_cannot_be_tidied_up_stays_to_be_recovered(
    deed: str, source: State, target: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(source, target)
    if deed == "undefine source":
        world.ends["target"] = End(state="running", persistent=True)
    world.stubborn.add(deed)
    with pytest.raises(HostUnreachable) as failed:
        settled(world, monkeypatch)
    assert failed.value.code == "migration-unsettled"
    assert "is running at" in failed.value.message
    assert "it does not want to" in failed.value.message
    assert len(journals.all_journals()) == 1


def test_a_job_that_libvirt_has_forgotten_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("off", "running")
    world.ends["target"] = End(state="running", persistent=True)
    monkeypatch.setattr(world, "undefine", lambda side: _forgotten(world, side))
    with pytest.raises(HostUnreachable) as failed:
        settled(world, monkeypatch)
    assert world.deeds == ["undefine source"]
    assert failed.value.hint.startswith("restart libvirtd there")


def _forgotten(world: World, side: Side) -> None:
    world.deeds.append(f"undefine {side}")
    raise KvmctlError("libvirt-failed", "cannot acquire state change lock (held by monitor=remoteDispatch)")
