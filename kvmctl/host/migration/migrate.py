"""One VM from one host to another: looked at, measured, decided, moved, and the truth told afterwards.

The order of things is here, and nothing else. A journal is written before anything is changed and removed when exactly
one copy runs; whatever ends this process in between, `settle` finishes from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvmctl.host.connection import connect, translated
from kvmctl.host.domains import find
from kvmctl.host.migration import call, dirty
from kvmctl.host.migration import journal as journals
from kvmctl.host.migration.answer import blocked, failed, result, stuck
from kvmctl.host.migration.copying import prepare
from kvmctl.host.migration.look import look
from kvmctl.host.migration.measure import measure
from kvmctl.host.migration.move import move
from kvmctl.host.migration.place import Anew, anew, is_pinned, make_room
from kvmctl.host.migration.plugging import unplug
from kvmctl.host.migration.settle import patience, settle
from kvmctl.plan.migration import pilot
from kvmctl.plan.migration.copies import synchronous
from kvmctl.plan.migration.order import Order
from kvmctl.plan.migration.policy import choose
from kvmctl.plan.migration.told import Told

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt
    from kvmctl.host.migration.copying import Prepared
    from kvmctl.host.migration.moved import Moved
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.forecast import Forecast
    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.means import Means
    from kvmctl.plan.migration.measured import Measured
    from kvmctl.plan.migration.wish import Wish

Hear = Callable[[Told], None]

MEASURE_SECONDS = 1.0
"""How long the way to the target, and what else a forecast needs, is measured."""
COUNT_SECONDS = 2
"""How long the guest's writing is counted."""


def check(
    source: Target, target: Target, name: str, wish: Wish, *, work: Work, timeout: float | None = None
) -> dict[str, Any]:
    """What stands in the way, and how it would go: `name uuid host source verdict findings forecast`. Moves nothing."""
    with _both(source, target, timeout, work) as (here, there):
        domain = find(here, name)
        looked, measured = _found(here, there, domain, wish, work)
        means, forecast = choose(measured, looked, wish)
        return {
            "name": domain.name(),
            "uuid": domain.UUIDString(),
            "host": there.name,
            "source": here.name,
            "verdict": looked.verdict,
            "findings": [finding.as_dict() for finding in looked.findings],
            "means": list(means.reasons),
            "forecast": forecast.as_dict() if forecast else None,
        }


def migrate(
    source: Target,
    target: Target,
    name: str,
    wish: Wish,
    *,
    hear: Hear,
    work: Work,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Move a VM. The answer is true of both hosts: it was looked at both after the move.

    Raises Impossible with every blocker; any error that says what became of the VM; Interrupted when it was called off.
    """
    with _both(source, target, timeout, work) as (here, there):
        domain = find(here, name)
        journals.refuse_taken(domain.UUIDString())
        hear(Told(kind="step", vm=domain.name(), what="looking at both hosts"))
        looked, measured = _found(here, there, domain, wish, work)
        if looked.blockers:
            raise blocked(looked, domain.name(), there.name)
        work.check()
        entry = journals.begin(here, there, domain, looked)
        moved: Moved | None = None
        try:
            if looked.likes and looked.running:
                entry = unplug(domain, looked, entry, work, hear)
            if entry.unplugged:
                # libvirt has refused to answer some questions until now.
                again, measured = _found(here, there, domain, wish, work)
                if again.blockers:
                    raise blocked(again, domain.name(), there.name)
                looked = replace(again, likes=looked.likes)
            means, forecast = choose(measured, looked, wish)
            prepared = prepare(
                *(here, there, domain, wish, looked),
                work=work,
                hear=hear,
                note=lambda made: journals.step(entry, "copying", made=made),
            )
            pinned, placed = is_pinned(domain), anew(there, domain, looked, prepared)
            order = _order(means, forecast, looked, wish, prepared, placed, measured.link)
            # All that another process needs, to finish it or to take post-copy up again.
            entry = journals.step(
                entry, "moving", made=prepared.made, flags=call.flags_of(order), peer_uri=order.peer_uri
            )

            def go(order: Order, wish: Wish) -> Moved:
                return move(
                    here,
                    there,
                    domain,
                    order,
                    pilot.make(means, looked, wish, measured, may_wait=prepared.may_wait and not order.writes_wait),
                    hear=hear,
                    on_postcopy=lambda: journals.note(entry, step="postcopy"),
                    on_hold=lambda: journals.note(entry, held=True),
                    work=work,
                )

            moved = go(order, wish)
            if moved.again and not journals.was_called_off(entry):
                order = replace(order, writes_wait=True)
                entry = journals.step(entry, "moving", flags=call.flags_of(order))
                with translated(vm=entry.name, doing="set the speed of its move", host=here.name):
                    domain.migrateSetMaxSpeed(entry.speed)  # what ends a move may have slowed it down
                rest = None if wish.deadline is None else max(0.0, wish.deadline - moved.seconds)
                moved = moved.then(go(order, replace(wish, deadline=rest)))
        finally:
            if moved is not None and not moved.over:
                raise stuck(entry)
            hear(Told(kind="step", vm=entry.name, what="looking what became of it"))
            called_off = journals.was_called_off(entry)
            still = moved.still if moved is not None else 0.0
            settled = settle(journals.read(entry.uuid) or entry, work, silent=patience(still))
        if settled.outcome == "stayed" or (entry.running and settled.state == "off"):
            raise failed(moved.problem, settled, entry, called_off=called_off)
        room = make_room(here, there, entry.uuid) if pinned else ()
        return result(entry, moved, settled, means, forecast, room)


def _found(here: Host, there: Host, domain: libvirt.virDomain, wish: Wish, work: Work) -> tuple[Looked, Measured]:
    """The guest's writing is counted while everything else is looked at."""
    count = dirty.begin(domain, COUNT_SECONDS, work)
    looked = look(here, there, domain.UUIDString(), wish, work=work)
    return looked, measure(here, there, domain, looked, work=work, seconds=MEASURE_SECONDS, count=count)


def _order(
    means: Means,
    forecast: Forecast | None,
    looked: Looked,
    wish: Wish,
    prepared: Prepared,
    placed: Anew | None,
    link: int | None,
) -> Order:
    return Order(
        means=means,
        peer_uri=None if wish.peer_to_peer is False else looked.peer_uri,
        migrate_uri=looked.migrate_uri,
        persistent=looked.persistent,
        autostart=looked.autostart,
        running=looked.running,
        safe_switch=not looked.lockable,
        target_xml=placed.live if placed else prepared.target_xml,
        persistent_xml=placed.persistent if placed else prepared.persistent_xml,
        copied_disks=prepared.copied_disks,
        copied_layers=prepared.copied_layers,
        writes_wait=synchronous(prepared.written, link, means.bandwidth),
        tls=wish.tls,
        unsafe=looked.unsafe or wish.unsafe,
        expected_ms=forecast.total_ms if forecast else None,
    )


@contextmanager
def _both(source: Target, target: Target, timeout: float | None, work: Work) -> Iterator[tuple[Host, Host]]:
    with (
        connect(source, timeout=timeout, events=True, work=work) as here,
        connect(target, timeout=timeout, events=True, work=work) as there,
    ):
        yield here, there
