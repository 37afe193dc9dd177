"""Every fault under a migration that is tried, each at its moments, in both modes, with disks that lock and without.

A cell says what is done and what is expected beside that which is always expected: see `trial.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

from tests.lab.faults.cell import MODES, Cell, Mode
from tests.lab.faults.field import SIDES, Field, Side
from tests.lab.faults.guest import leaves_postcopy, moving, runs_postcopy
from tests.lab.faults.wire import BEGIN, CONFIRM, FINISH, PERFORM, PREPARE, Line, When

CALLS = {BEGIN: "Begin", PREPARE: "Prepare", PERFORM: "Perform", FINISH: "Finish", CONFIRM: "Confirm"}
WAYS: dict[Mode, tuple[tuple[Side, int], ...]] = {
    "managed": (("source", BEGIN), ("target", PREPARE), ("source", PERFORM), ("target", FINISH), ("source", CONFIRM)),
    "p2p": (("source", PERFORM), ("target", PREPARE), ("target", FINISH)),
}
"""The calls of a migration by mode, and whose daemon they are made to."""
MOMENTS: tuple[When, ...] = ("before", "after")
PAGES_MOVING = 4000
"""So many pages take seconds at the slowest speed there is."""


def matrix() -> list[Cell]:
    return [*_calls(), *_client(), *_daemons(), *_qemus(), *_cable(), *_postcopy(), *_room()]


SLOW: dict[str, Any] = {"options": ("--bandwidth", "2MiB"), "fill": PAGES_MOVING}
OFF_TOO = frozenset({"running", "off"})
LOST = frozenset({"off", "lost"})
"""Nothing can bring the guest back; it must be said, and nothing be left of it."""


def _calls() -> Iterator[Cell]:
    """A connection lost before each call, after it was done, and silent from its answer on."""
    for mode, locks in product(MODES, (True, False)):
        for side, call in WAYS[mode]:
            for when in MOMENTS:
                name = f"connection to the {side} lost {when} {CALLS[call]}"
                yield Cell(name=name, mode=mode, locks=locks, arm=_trap(side, call, when, Line.cut))
            name = f"{side} silent from the answer to {CALLS[call]} on"
            yield Cell(name=name, mode=mode, locks=locks, arm=_trap(side, call, "after", Line.hold), seconds=35)


def _client() -> Iterator[Cell]:
    """kvmctl told to stop, or killed."""
    for mode, number in product(MODES, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        yield Cell(
            name=f"{number.name} to kvmctl while memory moves",
            mode=mode,
            locks=True,
            arm=_while_moving(Field.kill_client, number),
            codes=frozenset({130}),
            **SLOW,
        )
    for mode in MODES:
        for side, call in WAYS[mode]:
            for locks in (True, False):
                yield Cell(
                    name=f"SIGKILL to kvmctl after {CALLS[call]}",
                    mode=mode,
                    locks=locks,
                    arm=_kill_client(side, call, "after", signal.SIGKILL),
                    killed=True,
                )
                if locks or call == FINISH:
                    yield Cell(
                        name=f"SIGINT to kvmctl before {CALLS[call]}",
                        mode=mode,
                        locks=locks,
                        arm=_kill_client(side, call, "before", signal.SIGINT),
                        # What is nearly over is not stopped: QEMU may not survive it.
                        codes=frozenset({130, 0}),
                    )
    for mode, locks in product(MODES, (True, False)):
        yield Cell(
            name="SIGKILL to kvmctl while memory moves",
            mode=mode,
            locks=locks,
            arm=lambda field: field.when(moving, partial(field.kill_client, signal.SIGKILL)),
            killed=True,
            **SLOW,
        )


def _daemons() -> Iterator[Cell]:
    """A libvirtd killed and started again."""
    moments: tuple[tuple[Side, int, When], ...] = (
        ("target", PREPARE, "after"),
        ("target", FINISH, "before"),
        ("target", FINISH, "after"),
    )
    for mode, locks, victim in product(MODES, (True, False), SIDES):
        yield Cell(
            name=f"libvirtd of the {victim} killed while memory moves",
            mode=mode,
            locks=locks,
            arm=_while_moving(Field.kill_daemon, victim),
            unreachable=True,
            **SLOW,
        )
        for where, call, when in moments:
            if call == PREPARE and not locks:
                continue  # before the end of the move, locks make no difference
            yield Cell(
                name=f"libvirtd of the {victim} killed {when} {CALLS[call]}",
                mode=mode,
                locks=locks,
                arm=_kill_daemon(where, call, when, victim),
                unreachable=True,
            )


def _qemus() -> Iterator[Cell]:
    for mode, locks, victim in product(MODES, (True, False), SIDES):
        ends = OFF_TOO if victim == "source" else frozenset({"running"})
        yield Cell(
            name=f"QEMU of the {victim} killed while memory moves",
            mode=mode,
            locks=locks,
            arm=_while_moving(Field.kill_qemu, victim),
            ends=ends,
            **SLOW,
        )
        for when in MOMENTS:
            yield Cell(
                name=f"QEMU of the {victim} killed {when} Finish",
                mode=mode,
                locks=locks,
                arm=_kill_qemu("target", FINISH, when, victim),
                # Once the guest has run at the target, that is where its QEMU was killed.
                ends=OFF_TOO,
            )


def _cable() -> Iterator[Cell]:
    for mode, seconds in product(MODES, (5.0, 15.0, 60.0)):
        yield Cell(
            name=f"cable pulled for {seconds:.0f} s while memory moves",
            mode=mode,
            locks=True,
            arm=_while_moving(Field.pull_cable, seconds),
            unreachable=True,
            seconds=seconds / 2 + 25,
            **SLOW,
        )


def _postcopy() -> Iterator[Cell]:
    """After the guest has gone over and before its memory has. Only with locks: without, there is no post-copy."""
    for mode in MODES:
        cell = partial(Cell, mode=mode, locks=True, options=("--postcopy",), fill=3000, busy=3000, link=2, seconds=25.0)
        for seconds in (5.0, 20.0, 60.0):
            yield cell(
                name=f"cable pulled for {seconds:.0f} s in post-copy",
                arm=_in_postcopy(_do(Field.pull_cable, seconds)),
                codes=frozenset({0}),
                seconds=seconds + 40,
            )
        for victim in SIDES:
            yield cell(
                name=f"QEMU of the {victim} killed in post-copy",
                arm=_in_postcopy(_do(Field.kill_qemu, victim)),
                ends=LOST,
                codes=frozenset({1, 7}) if mode == "p2p" else frozenset({1}),
                forgets=mode == "p2p",
            )
            yield cell(
                name=f"libvirtd of the {victim} killed in post-copy",
                arm=_in_postcopy(_do(Field.kill_daemon, victim)),
                codes=frozenset({0}),
            )
        yield cell(
            name="SIGKILL to kvmctl in post-copy",
            arm=_in_postcopy(lambda field: field.kill_client(signal.SIGKILL)),
            killed=True,
        )
        yield cell(
            name="SIGINT to kvmctl in post-copy",
            arm=_in_postcopy(lambda field: field.kill_client(signal.SIGINT)),
            codes=frozenset({0}),
        )
        # The guest is held at the source, which QEMU cannot let run any more, and libvirtd at the target ends a copy
        # that it has not let run yet. Both have no remedy; what can be done is to leave nothing behind, and to say so.
        yield cell(
            name="cable pulled for 60 s just before the guest runs there",
            arm=lambda field: field.when(leaves_postcopy, partial(field.pull_cable, 60.0)),
            ends=LOST | {"running"},
            seconds=100,
        )
        yield cell(
            name="libvirtd of the target killed just before the guest runs there",
            arm=lambda field: field.when(leaves_postcopy, partial(field.kill_daemon, "target")),
            ends=LOST | {"running"},
            seconds=60,
        )


def _room() -> Iterator[Cell]:
    """No room at the target, for a disk, a definition or memory; and other faults while disks are copied."""
    for mode in MODES:
        cell = partial(Cell, mode=mode, locks=True)
        copied = partial(cell, disk=32, options=("--copy-disks", "--bandwidth", "4MiB"), seconds=15)
        yield copied(name="target disk full from the start", arm=_full_disk, codes=frozenset({5}))
        yield copied(name="target disk full while disks are copied", arm=_full_disk_later, codes=frozenset({1, 5}))
        yield cell(name="target has no room for the definition", arm=_full_definitions, codes=frozenset({1, 5}))
        yield cell(
            name="target out of memory",
            arm=lambda field: field.trap("target", PREPARE, "before", lambda line: field.limit_memory(300_000)),
            codes=frozenset({1}),
        )
        for number in (signal.SIGINT, signal.SIGKILL):
            yield copied(
                name=f"{number.name} to kvmctl while disks are copied",
                arm=_while_copied(_do(Field.kill_client, number)),
                codes=frozenset({130}) if number == signal.SIGINT else None,
                killed=number == signal.SIGKILL,
            )
        for victim in SIDES:
            yield copied(
                name=f"libvirtd of the {victim} killed while disks are copied",
                arm=_while_copied(_do(Field.kill_daemon, victim)),
                unreachable=True,
            )
        yield copied(
            name="QEMU of the target killed while disks are copied",
            arm=_while_copied(lambda field: field.kill_qemu("target")),
        )
        yield copied(
            name="connection to the target lost after Finish, with copied disks",
            arm=_trap("target", FINISH, "after", Line.cut),
        )


def _do(deed: Callable[..., object], *arguments: object) -> Callable[[Field], object]:
    return lambda field: deed(field, *arguments)


def _while_moving(deed: Callable[..., object], *arguments: object) -> Callable[[Field], object]:
    return lambda field: field.when(moving, partial(deed, field, *arguments))


def _while_copied(deed: Callable[[Field], object]) -> Callable[[Field], object]:
    return lambda field: field.when(partial(moving, what="disk"), partial(deed, field))


def _full_disk(field: Field) -> None:
    field.fill_up("/var/lib/libvirt/images", size="40m", free=16 << 20)()
    field.happened()


def _full_disk_later(field: Field) -> None:
    fill = field.fill_up("/var/lib/libvirt/images", size="64m", free=8 << 20)
    field.trap("target", PREPARE, "before", lambda line: fill())


def _full_definitions(field: Field) -> None:
    fill = field.fill_up("/etc/libvirt/qemu", size="64k", free=0)
    field.trap("target", FINISH, "before", lambda line: fill())


def _in_postcopy(deed: Callable[[Field], object]) -> Callable[[Field], object]:
    return lambda field: field.when(runs_postcopy, partial(deed, field), side="target")


def _trap(side: Side, call: int, when: When, deed: Callable[[Line], object]) -> Callable[[Field], object]:
    return lambda field: field.trap(side, call, when, deed)


def _kill_client(side: Side, call: int, when: When, number: signal.Signals) -> Callable[[Field], object]:
    return lambda field: field.trap(side, call, when, lambda line: field.kill_client(number))


def _kill_daemon(where: Side, call: int, when: When, victim: Side) -> Callable[[Field], object]:
    return lambda field: field.trap(where, call, when, lambda line: field.kill_daemon(victim))


def _kill_qemu(where: Side, call: int, when: When, victim: Side) -> Callable[[Field], object]:
    return lambda field: field.trap(where, call, when, lambda line: field.kill_qemu(victim))
