"""What is done after a migration, over every combination of what both ends can look like and a journal can say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import get_args

import pytest

from kvmctl.plan.migration.journal import Journal, Step
from kvmctl.plan.migration.settle import (
    BEFORE,
    LOST,
    NO_PROCESS,
    POSTCOPY,
    STATES,
    TIDYING,
    WHOLE,
    Act,
    End,
    Tired,
    Verb,
    decide,
)

MOST_ACTS = 12
"""More than any way to an end needs."""


@cache
def ends() -> tuple[End, ...]:
    """Everything that a host can say of a VM."""
    found = [End(state="unknown"), End(state="absent"), End(state="off", persistent=True)]
    for state in STATES:
        if state not in (*NO_PROCESS, "unknown"):
            found += [
                End(state=state, job=job, persistent=persistent)
                for job, persistent in product((False, True), (False, True))
            ]
    return tuple(found)


def journals() -> Iterator[Journal]:
    """Everything that a journal can say which matters."""
    truths = (False, True)
    for step, running, persistent, safe, held, known in product(get_args(Step), *[truths] * 5):
        yield journal(step=step, running=running, persistent=persistent, safe_switch=safe, held=held, known_there=known)


def journal(**changes: object) -> Journal:
    plain = Journal(
        uuid="5f0f7f9e-1b8d-4b58-9f38-3c2a3b1d8f10",
        name="web1",
        source_uri="qemu+tcp://host1/system",
        target_uri="qemu+tcp://host2/system",
        source_name="host1",
        target_name="host2",
        started="2025-01-01T00:00:00Z",
        step="moving",
        persistent=True,
        autostart=True,
        made=("/var/lib/libvirt/images/web1.qcow2",),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


Case = tuple[End, End, Journal]


def cases() -> Iterator[Case]:
    for entry in journals():
        for source, target in product(ends(), ends()):
            yield source, target, entry


def test_nothing_is_done_while_an_end_is_unknown() -> None:
    for source, target, entry in cases():
        if "unknown" in (source.state, target.state):
            assert decide(source, target, entry, patient=True).verb == "wait"
            assert decide(source, target, entry, patient=False).verb == "give-up"


def test_a_copy_is_let_run_only_when_the_other_end_has_none() -> None:
    """So nothing that happens between the look and the deed makes two: what has no process gets none by itself."""
    seen = 0
    for source, target, entry in cases():
        act = decide(source, target, entry, patient=True)
        if act.verb == "resume":
            own, other = (source, target) if act.side == "source" else (target, source)
            assert other.state in NO_PROCESS
            assert not source.job, "what is still at it may make a copy yet"
            assert entry.running, "a guest that was held stays held"
            assert own.state in ("paused", "migrating")
            assert own.state == "paused" or act.side == "source", "what has not arrived whole can never run"
            seen += 1
    assert seen


def test_the_only_good_copy_is_never_ended() -> None:
    for source, target, entry in cases():
        act = decide(source, target, entry, patient=False)
        if act.verb != "destroy":
            continue
        own, other = (source, target) if act.side == "source" else (target, source)
        whole_there = other.state in WHOLE
        never_whole = act.side == "target" and own.state == "migrating"
        behind = act.side == "source" and own.state in POSTCOPY and other.state in NO_PROCESS
        over = act.side == "source" and own.state == "migrating" and other.state == "off"
        assert whole_there or never_whole or behind or over, (source, target, entry, act)


def test_what_runs_is_ended_only_for_a_copy_that_runs() -> None:
    for source, target, entry in cases():
        act = decide(source, target, entry, patient=False)
        if act.verb == "destroy" and (source if act.side == "source" else target).state == "running":
            assert (target if act.side == "source" else source).state == "running"


def test_a_definition_is_taken_away_only_where_another_is_left() -> None:
    for source, target, entry in cases():
        act = decide(source, target, entry, patient=False)
        if act.verb == "undefine":
            own, other = (source, target) if act.side == "source" else (target, source)
            assert own.state == "off"
            assert other.persistent or (act.side == "target" and other.state not in NO_PROCESS)
            assert not (act.side == "target" and entry.known_there)


def test_before_libvirt_was_asked_to_move_only_what_was_made_is_taken_away() -> None:
    for source, target, entry in cases():
        if entry.step in BEFORE and "unknown" not in (source.state, target.state):
            act = decide(source, target, entry, patient=True)
            assert act.verb in ("clean", "done")
            assert act.outcome in (None, "stayed")


def test_postcopy_never_goes_back() -> None:
    for source, target, entry in cases():
        act = decide(source, target, entry, patient=False)
        if target.state in POSTCOPY and source.state != "running":
            assert (act.verb, act.side) not in (("destroy", "target"), ("resume", "source"), ("abort", "source"))
        if source.state in POSTCOPY:
            assert (act.verb, act.side) != ("resume", "source")


def test_it_waits_only_while_it_may() -> None:
    for source, target, entry in cases():
        assert decide(source, target, entry, patient=False).verb != "wait"


@pytest.mark.parametrize("failing", ["", "resume", "destroy", "abort", "reconnect", "define", "undefine", "clean"])
def test_it_always_ends(failing: str) -> None:
    """From every combination, with every deed done or one kind of them failing for ever; and what is done is right."""
    for case in cases():
        if not failing or case[2].step in ("moving", "arrived"):
            _follow(case, failing)


def _follow(case: Case, failing: str) -> None:
    tired: Tired = frozenset()
    path: list[Act] = []
    for _ in range(MOST_ACTS):
        # Whether one may wait makes a difference for the time alone.
        act = decide(*case, patient=False, tired=tired)
        path.append(act)
        if act.verb == "give-up":
            return
        if act.verb == "done":
            _check_end(case, act, tired)
            return
        assert (act.verb, act.side) not in tired
        if act.verb == failing:
            tired |= {(act.verb, act.side)}
        else:
            case = _after(case, act)
    pytest.fail(f"no end: {path}")


def _check_end(case: Case, act: Act, tired: Tired) -> None:
    source, target, entry = case
    if entry.step in BEFORE:
        return
    here, there = (target, source) if act.outcome == "moved" else (source, target)
    assert there.state in NO_PROCESS, "a copy is left"
    assert here.state != "migrating" or not entry.running, "a guest that ran is left held"
    failed: set[Verb] = {verb for verb, _ in tired}
    if act.outcome == "moved":
        assert here.persistent or not entry.persistent or "define" in failed
        assert there.state == "absent" or not here.persistent or "undefine" in failed
    else:
        kept = entry.known_there or here.state == "absent" or "undefine" in failed
        assert there.state == "absent" or kept, "a definition is left"
        assert not entry.made or "clean" in failed
    assert failed <= {*TIDYING, "reconnect"}


def _after(case: Case, act: Act) -> Case:
    """The world when an act has been done, and every message that was on its way has come."""
    source, target, entry = case
    both = {"source": source, "target": target}
    assert act.side is not None
    own = both[act.side]
    match act.verb:
        case "abort":
            both["source"] = replace(source, job=False)
        case "resume":
            both[act.side] = replace(own, state="running")
            if act.side == "target":
                entry = replace(entry, step="arrived")
        case "destroy":
            both[act.side] = End(state="off" if own.persistent else "absent", persistent=own.persistent)
        case "reconnect":
            both["target"] = replace(target, state="running", job=False)
            both["source"] = End(state="off" if source.persistent else "absent", persistent=source.persistent)
        case "define":
            both[act.side] = replace(own, persistent=True)
        case "autostart":
            both[act.side] = replace(own, autostart=True)
        case "undefine":
            both[act.side] = End(state="absent")
        case "clean":
            entry = replace(entry, made=())
    return both["source"], both["target"], entry


# -- what was measured of libvirt, and what follows from it ------------------------------------------------------

RUNS = End(state="running", persistent=True)
OFF = End(state="off", persistent=True)
ABSENT = End(state="absent")
HELD_BY_MOVE = End(state="migrating", persistent=True)
HELD = End(state="paused", persistent=True)


@pytest.mark.parametrize(
    ("source", "target", "changes", "verb", "side"),
    [
        # The reply to Finish was lost: libvirt lets the source go on, beside a target that arrived held.
        (RUNS, HELD, {"safe_switch": True}, "destroy", "target"),
        # The same with an image lock, which keeps the source from running.
        (HELD_BY_MOVE, RUNS, {}, "destroy", "source"),
        # The connection to the source was lost after Perform: nobody runs.
        (HELD_BY_MOVE, ABSENT, {}, "resume", "source"),
        (HELD_BY_MOVE, ABSENT, {"safe_switch": True}, "resume", "source"),
        # The connection to the source was lost before Confirm.
        (HELD_BY_MOVE, HELD, {"safe_switch": True}, "destroy", "source"),
        # All went well with a safe switch: the target is held, the source off.
        (OFF, HELD, {"safe_switch": True}, "resume", "target"),
        (OFF, RUNS, {"safe_switch": True, "autostart": False}, "undefine", "source"),
        # The source was ended while memory was on its way.
        (OFF, End(state="migrating"), {}, "destroy", "target"),
        (OFF, ABSENT, {"made": ()}, "done", None),
        # It arrived, and its guest powered itself off there: the memory at the source is old.
        (HELD_BY_MOVE, OFF, {}, "destroy", "source"),
        # Not so where only we let it run, and have not: what is there is what was left of a copy that was ended.
        (HELD_BY_MOVE, OFF, {"safe_switch": True}, "resume", "source"),
        (HELD_BY_MOVE, OFF, {"safe_switch": True, "step": "arrived"}, "destroy", "source"),
        # Held by us to arrive in time, and it did not.
        (HELD, ABSENT, {"held": True}, "resume", "source"),
        (HELD, ABSENT, {"made": ()}, "done", None),
        # Post-copy that was cut.
        (End(state="postcopy-failed"), End(state="postcopy"), {"step": "postcopy"}, "reconnect", "source"),
        (End(state="postcopy", job=True), End(state="postcopy-failed"), {"step": "postcopy"}, "reconnect", "source"),
    ],
)
def test_what_follows(source: End, target: End, changes: dict[str, object], verb: str, side: str | None) -> None:
    act = decide(source, target, journal(**changes), patient=True)
    assert (act.verb, act.side) == (verb, side)


def test_a_guest_whose_memory_is_gone_is_told_as_lost() -> None:
    gone = decide(End(state="postcopy-failed", persistent=True), OFF, journal(step="postcopy"), patient=True)
    assert (gone.verb, gone.side, gone.lost) == ("destroy", "source", True)
    entry = journal(step="postcopy", autostart=False)
    left = decide(ABSENT, End(state="postcopy-failed", persistent=True), entry, patient=True)
    assert (left.verb, left.outcome, left.lost, left.why) == ("done", "moved", True, LOST)


def test_a_guest_held_between_both_hosts_is_given_up_at_last() -> None:
    """The source has begun post-copy, and may never run it again; the target was not told to let it run."""
    source, target = End(state="postcopy-failed", persistent=True), End(state="migrating")
    entry = journal(step="postcopy")
    first = decide(source, target, entry, patient=True)
    assert (first.verb, first.side) == ("reconnect", "source")
    then = decide(source, target, entry, patient=True, tired=frozenset({("reconnect", "source")}))
    assert (then.verb, then.side, then.lost) == ("destroy", "target", True)
    arrived = decide(source, End(state="postcopy"), entry, patient=True, tired=frozenset({("reconnect", "source")}))
    assert (arrived.verb, arrived.why) == ("give-up", "post-copy was interrupted, and could not be helped")


def test_a_job_is_waited_for_then_called_off() -> None:
    busy = End(state="running", persistent=True, job=True)
    assert decide(busy, End(state="migrating"), journal(), patient=True).verb == "wait"
    assert decide(busy, End(state="migrating"), journal(), patient=False).verb == "abort"


def test_why_it_gave_up_is_told() -> None:
    silent = decide(RUNS, End(state="unknown"), journal(), patient=False)
    assert silent.why == "the target cannot be asked"
    stubborn = decide(RUNS, RUNS, journal(), patient=False, tired=frozenset({("destroy", "source")}))
    assert (stubborn.verb, stubborn.why) == ("give-up", "all of it has arrived at the target, and could not be helped")
