"""`kvmctl drain`: move every VM of a host to others, and bring them back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import hosts
from kvmctl.commands._migration import move_options, wish_of
from kvmctl.commands._moved import sentence
from kvmctl.commands._moves import shown
from kvmctl.commands._vms import each
from kvmctl.errors import Impossible, NotFound, PartialFailure, UsageError
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.app import App
    from kvmctl.commands._moves import Teller
    from kvmctl.host.migration.draining import Drain, Left
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.drain import Trip
    from kvmctl.plan.migration.wish import Wish

LONGEST = 30 * 86400.0
"""Seconds that a move may take where nobody sets a limit. The engine gives up one that stands still."""
LAST_SECONDS = 60.0
PLAN_SECONDS = 600.0


@command("drain")
@click.argument("emptied", metavar="HOST", shell_complete=hosts)
@click.option("--to", "others", multiple=True, metavar="HOST", shell_complete=hosts, help="Where VMs may go.")
@click.option("--stopped", is_flag=True, help="Move VMs that do not run, too.")
@click.option("--at-once", type=click.IntRange(1, 8), default=2, show_default=True, help="How many move at a time.")
@click.option("--dry-run", is_flag=True, help="Show who would go where, and who cannot; move nothing.")
@click.option("--undo", is_flag=True, help="Bring back what an earlier drain of this host has moved.")
@move_options
@click.pass_obj
def drain(
    app: App,
    /,
    emptied: str,
    others: tuple[str, ...],
    stopped: bool,
    at_once: int,
    dry_run: bool,
    undo: bool,
    **options: Any,
) -> None:
    """Move every VM of a host to others, and back.

    Every VM that runs on HOST moves to another host of config.yaml, or to one of those named with --to. Who goes where
    is planned first and shown: by what stands in the way and by room, so that the greatest share of memory stays free
    everywhere. Those that are over soonest go first. A VM that cannot move is never stopped: it is told with the
    reasons, and the others go.

    What was interrupted is gone on with by calling it again. --undo brings back what has left, from wherever it is;
    kvmctl keeps a list of it on the machine where it was called.

    \b
      kvmctl drain host1 --dry-run
      kvmctl drain host1 --to host2 --to host3
      kvmctl drain host1 --undo

    The options about pause, deadline and means are those of 'kvmctl migrate', and hold for each VM.

    \b
    With -o json each line is one JSON object, as with 'kvmctl migrate': events
    with the field event, and at the end one object with the fields
      host     the host that is to be emptied
      plan     vm, uuid, target, why
      stuck    vm, uuid, reasons: who cannot leave
      moved    what 'kvmctl migrate' says of each
      failed   name, error
    With --undo, plan names the host that each comes back from, as source.

    \b
    Exit codes:
      0  no VM is left there that runs
      5  nothing could be moved, or no host answers that could take a VM
      7  the host cannot be reached
      9  some have moved, and some have not
      130  called off; each VM runs where it is
    """
    from kvmctl.host.targets import select

    if app.settings.hosts:
        raise UsageError("usage", "the host is named twice: as the argument and with -H")
    [source] = select((emptied,))
    app.warn_of(source)
    if undo:
        if others or stopped or dry_run:
            raise UsageError("usage", "--undo takes none of --to, --stopped and --dry-run")
        _undo(app, source, wish_of(options), at_once)
        return
    targets = select(others, every=True) if others else _configured(source)
    for target in targets:
        app.warn_of(target)
    _drain(
        app,
        source,
        _planned(app, source, targets, wish_of(options), stopped=stopped),
        wish_of(options),
        at_once,
        dry_run=dry_run,
    )


def _configured(source: Target) -> list[Target]:
    from kvmctl.host.targets import configured

    return [target for target in configured() if target != source]


def _planned(app: App, source: Target, targets: Sequence[Target], wish: Wish, *, stopped: bool) -> Drain:
    from kvmctl import parallel

    def look(_: None, work: Work) -> Drain:
        from kvmctl.host.migration.draining import planned

        return planned(source, targets, wish, stopped=stopped, work=work, timeout=app.settings.timeout)

    with app.output.progress(f"looking where the VMs of {source.name} can go"):
        outcomes, left = parallel.run([None], look, limit=PLAN_SECONDS)
    app.abandoned = app.abandoned or left
    if outcomes[0].error is not None:
        raise parallel.as_error(outcomes[0].error)
    assert outcomes[0].value is not None
    return outcomes[0].value


def _drain(app: App, source: Target, found: Drain, wish: Wish, at_once: int, *, dry_run: bool) -> None:
    for note in found.notes:
        app.output.warn(note)
    for trip in found.plan.trips:
        app.output.say(f"{trip.vm}: to {trip.target}: {trip.why}")
    if found.plan.stuck and not found.plan.trips:
        raise Impossible(
            "migration-blocked",
            f"no VM can leave {source.name}",
            reasons=[
                {"code": "stuck", "message": f"{stuck.vm}: {reason}", "hint": ""}
                for stuck in found.plan.stuck
                for reason in stuck.reasons
            ],
        )
    for stuck in found.plan.stuck:
        app.output.warn(f"{stuck.vm}: stays: " + "; ".join(stuck.reasons))
    answer = {
        "host": source.name,
        "plan": [trip.as_dict() for trip in found.plan.trips],
        "stuck": [stuck.as_dict() for stuck in found.plan.stuck],
    }

    def deed(teller: Teller, trip: Trip, work: Work) -> dict[str, Any]:
        from kvmctl.host.migration import draining
        from kvmctl.host.migration.migrate import migrate

        target = found.targets[trip.target]
        with teller.story(trip.vm) as hear:
            item = migrate(source, target, trip.uuid, wish, hear=hear, work=work, timeout=app.settings.timeout)
        draining.note(source, draining.Left(uuid=trip.uuid, name=trip.vm, uri=target.uri, host=target.name))
        return item

    _carry_out(app, [] if dry_run else found.plan.trips, deed, answer, at_once, name=lambda trip: trip.vm)
    if found.plan.stuck and not dry_run:
        raise PartialFailure("partial-failure", f"{len(found.plan.stuck)} cannot leave {source.name}")


def _undo(app: App, source: Target, wish: Wish, at_once: int) -> None:
    from kvmctl.host.migration.draining import gone

    left = gone(source)
    if not left:
        app.output.say(f"nothing has left {source.name} that would be to bring back")

    def deed(teller: Teller, vm: Left, work: Work) -> dict[str, Any]:
        from kvmctl.host.migration import draining
        from kvmctl.host.migration.migrate import migrate
        from kvmctl.host.targets import Target

        there, more = Target(vm.host, vm.uri), app.settings.timeout
        try:
            with teller.story(vm.name) as hear:
                item = migrate(there, source, vm.uuid, wish, hear=hear, work=work, timeout=more)
        except NotFound:
            draining.forget(source, vm.uuid)  # told once, and no longer ours to bring back
            raise
        draining.forget(source, vm.uuid)
        return item

    back = [{"vm": vm.name, "uuid": vm.uuid, "source": vm.host} for vm in left]
    _carry_out(app, left, deed, {"host": source.name, "plan": back, "stuck": []}, at_once, name=lambda vm: vm.name)


def _carry_out(app: App, things: Sequence[Any], deed: Any, answer: dict[str, Any], at_once: int, *, name: Any) -> None:
    """Do it to each, and answer with what became of it."""
    app.output.one_line()

    def show(items: Sequence[dict[str, Any]], single: bool) -> None:
        parts = {
            "moved": [item for item in items if "error" not in item],
            "failed": [item for item in items if "error" in item],
        }
        app.output.done([{**answer, **parts}], single=True)

    if not things:
        show((), False)
        return
    each(
        app,
        things,
        deed,
        name=name,
        sentence=sentence,
        answer=show,
        place=partial(shown, app.output),
        at_once=at_once,
        seconds=LONGEST,
        grace=LAST_SECONDS,
    )
