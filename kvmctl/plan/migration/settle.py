"""After a migration, or what is left of one: what both ends look like -> the next thing to do. Pure, and total.

The rules that everything else follows from:
- While one end is unknown nothing is done to the other.
- A copy is let run only when the other end has no process of it, so no message that comes late can make two.
- A copy is ended only when the other one is whole, or when it can never be whole itself.
- A definition is taken away only when the other end has one.
The caller does what `decide` says, looks at both ends again, and asks again. What was tried in vain is `tired`, and
when waiting has lasted long enough there is no more `patient`: so it always ends, in `done` or in `give-up`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from kvmctl.plan.migration.journal import Journal

State = Literal["unknown", "absent", "off", "running", "paused", "stuck", "migrating", "postcopy", "postcopy-failed"]
"""`paused`: by a user, or by us. `stuck`: whole, but for a reason of its own it does not run (disk error, crash).
`migrating`: held by the migration; at the source memory has left, at the target it has not arrived. `postcopy`: the
guest runs at the target with part of its memory still at the source."""
STATES: tuple[State, ...] = get_args(State)
Side = Literal["source", "target"]
Verb = Literal[
    "wait",
    "abort",
    "resume",
    "destroy",
    "reconnect",
    "define",
    "autostart",
    "undefine",
    "clean",
    "done",
    "give-up",
]
NO_PROCESS = ("absent", "off")
BEFORE = ("ready", "copying")
"""Steps of a journal before libvirt was asked to move anything."""
POSTCOPY = ("postcopy", "postcopy-failed")
WHOLE = ("running", "paused", "stuck")
TIDYING = ("define", "autostart", "undefine", "clean")
"""What these are for is done already: where they fail, the rest goes on, and it is told."""
LOST = "part of its memory was at the other host and is lost: it must be started anew"


@dataclass(frozen=True, kw_only=True)
class End:
    """What one host says of the VM. `job`: one is under way that moves it away from there."""

    state: State
    job: bool = False
    persistent: bool = False
    autostart: bool = False


@dataclass(frozen=True, kw_only=True)
class Act:
    """`reconnect` takes up post-copy again, `clean` removes volumes that were made. `lost`: the guest cannot go on."""

    verb: Verb
    side: Side | None = None
    why: str = ""
    outcome: Literal["moved", "stayed"] | None = None
    lost: bool = False


Tired = frozenset[tuple[Verb, Side | None]]


def decide(source: End, target: End, journal: Journal, *, patient: bool, tired: Tired = frozenset()) -> Act:
    """The next act. Never one that is `tired`; `wait` only while `patient`."""
    why = _puzzle(source, target)
    for act in _acts(source, target, journal):
        if act.verb == "wait":
            if patient:
                return act
        elif (act.verb, act.side) not in tired:
            return act
        elif act.verb not in TIDYING:
            why = f"{act.why}, and could not be helped"
            if act.verb != "reconnect":
                break
    return Act(verb="give-up", why=why)


def _acts(source: End, target: End, journal: Journal) -> Iterator[Act]:
    """What to do, the first choice first; whatever comes after a `wait` is for when there is no more time."""
    split = source.state in POSTCOPY or target.state in POSTCOPY
    if "unknown" in (source.state, target.state):
        yield Act(verb="wait", why="a host does not answer")
    elif journal.step in BEFORE:
        yield from _stayed(source, target, journal)
    elif source.job and not split:
        yield Act(verb="wait", side="source", why="the source is still at it")
        yield Act(verb="abort", side="source", why="the move makes no progress")
    elif source.state in NO_PROCESS and target.state in NO_PROCESS:
        yield from _ended(source, target, journal)
    elif target.state in NO_PROCESS:
        yield from _only_source(source, target, journal)
    elif source.state in NO_PROCESS:
        yield from _only_target(source, target, journal)
    elif split and "running" not in (source.state, target.state):
        if "postcopy-failed" not in (source.state, target.state):
            yield Act(verb="wait", side="target", why="post-copy is under way")
        yield Act(verb="reconnect", side="source", why="post-copy was interrupted")
        if target.state == "migrating":
            yield Act(verb="destroy", side="target", why="it was not let run there, and now never can be", lost=True)
    elif target.state in WHOLE and (target.state == "running" or source.state != "running"):
        yield Act(verb="destroy", side="source", why="all of it has arrived at the target")
    else:
        yield Act(verb="destroy", side="target", why="not all of it has arrived there, or it was not let run")


def _ended(source: End, target: End, journal: Journal) -> Iterator[Act]:
    """No process anywhere: the definition that arrived counts, since it came with all the rest."""
    if target.state == "off" and (not journal.known_there or source.state == "absent"):
        yield from _moved(source, target, journal)
    else:
        yield from _stayed(source, target, journal)


def _only_source(source: End, target: End, journal: Journal) -> Iterator[Act]:
    if source.state in POSTCOPY:
        if source.job:
            yield Act(verb="wait", side="source", why="the source is still at it")
        why = "the target, which had the newest of its memory, has no copy any more"
        yield Act(verb="destroy", side="source", why=why, lost=True)
    elif source.state == "migrating" and _ran_there(target, journal):
        yield Act(verb="destroy", side="source", why="it had arrived at the target, and ended there")
    elif source.state == "migrating" and journal.running:
        yield Act(verb="resume", side="source", why="nothing has arrived at the target")
    elif source.state == "paused" and journal.held and journal.running:
        yield Act(verb="resume", side="source", why="it was held so that it could move")
    else:
        yield from _stayed(source, target, journal)


def _only_target(source: End, target: End, journal: Journal) -> Iterator[Act]:
    if target.state == "migrating":
        yield Act(verb="destroy", side="target", why="the source ended before all of it had arrived", lost=True)
    elif target.state == "paused" and journal.running and (journal.safe_switch or journal.held):
        yield Act(verb="resume", side="target", why="it has arrived, and the source is off")
    else:
        if target.state == "postcopy":
            yield Act(verb="wait", side="target", why="post-copy is about to end")
        yield from _moved(source, target, journal)


def _moved(source: End, target: End, journal: Journal) -> Iterator[Act]:
    if journal.persistent and not target.persistent:
        yield Act(verb="define", side="target", why="the target does not keep it yet")
    if journal.autostart and target.persistent and not target.autostart:
        yield Act(verb="autostart", side="target", why="it starts with its host")
    if source.state == "off" and target.persistent:
        yield Act(verb="undefine", side="source", why="it is at the target now")
    lost = target.state in POSTCOPY
    yield Act(verb="done", outcome="moved", lost=lost, why=LOST if lost else "")


def _stayed(source: End, target: End, journal: Journal) -> Iterator[Act]:
    begun = journal.step not in BEFORE
    if begun and journal.persistent and source.state not in NO_PROCESS and not source.persistent:
        yield Act(verb="define", side="source", why="the source does not keep it any more")
    if begun and not journal.known_there and target.state == "off" and source.state != "absent":
        yield Act(verb="undefine", side="target", why="it is at the source")
    if journal.made and target.state in NO_PROCESS:
        yield Act(verb="clean", side="target", why="volumes were made there for it")
    yield Act(verb="done", outcome="stayed")


def _ran_there(target: End, journal: Journal) -> bool:
    """A definition that was not there before came with the end of the move, and the guest was then let run.

    Not where only we let it run, and have not.
    """
    kept_back = journal.safe_switch and journal.step != "arrived"
    return target.state == "off" and not journal.known_there and not kept_back and journal.running


def _puzzle(source: End, target: End) -> str:
    silent = [side for side, end in (("source", source), ("target", target)) if end.state == "unknown"]
    if silent:
        return f"the {' and the '.join(silent)} cannot be asked"
    return f"the VM is {source.state} at the source and {target.state} at the target"
