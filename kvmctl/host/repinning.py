"""Pins a VM as people ask for it: threads, memory, schedulers and limits at once; all of it, or nothing.

Whatever is impossible is found before anything is changed.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvmctl.host.configurations import Configurations
from kvmctl.host.connection import translated
from kvmctl.host.domains import summary
from kvmctl.host.limiting import limit, schedule
from kvmctl.host.moving import refit_after
from kvmctl.host.pinning import apply, set_placement
from kvmctl.host.redefining import redefine
from kvmctl.host.rights import rights
from kvmctl.host.undoing import Undo
from kvmctl.plan.objection import ERROR, refused
from kvmctl.plan.placement.change import Change, Settled, objections, settle
from kvmctl.plan.placement.pins import placement_of
from kvmctl.plan.placement.sides import side_of
from kvmctl.plan.placement.tuning import Schedulers, numbers_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.surroundings import Surroundings
    from kvmctl.parallel import Work

HANDMADE = ("pin", "by_hand", "pooled")
"""What no longer holds of a placement once somebody pins threads by hand."""


def change(
    host: Host,
    name: str,
    wanted: Change,
    work: Work,
    around: Surroundings,
    *,
    now: bool = False,
    next_boot: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Pin threads and memory, set schedulers and limits. The answer of `pin set`."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    settled = settle(wanted, found.documents[0])
    notes = _check(host, found, settled, around, force=force)
    changed = any(_changes(settled, document, live=document is found.running) for document in found.documents)
    by_hand = any(pins is not None for pins in (settled.pins.vcpus, settled.pins.emulator, settled.pins.iothreads))
    if by_hand and any(_handmade(document) != placement_of(document) for document in found.documents):
        notes.append("its pins are made by hand now, so kvmctl no longer changes them by itself")
    postponed = [] if dry_run else _carry_out(host, found, settled, work, by_hand=by_hand)
    if settled.pins.vcpus and not dry_run:
        notes += refit_after(host, found.documents, but=found.domain.UUIDString())
    return {
        **summary(host, found.domain, found.state),
        "changed": changed,
        "now": found.running is not None,
        "next_boot": found.definition is not None,
        "set": settled.as_dict(),
        "notes": notes,
        "postponed": postponed,
        "dry_run": dry_run,
    }


def _check(host: Host, found: Configurations, settled: Settled, around: Surroundings, *, force: bool) -> list[str]:
    """Raise for all that is impossible; notes of what is possible and perhaps not meant."""
    topology, tenants = around.of(host)
    said = objections(
        settled, found.documents[0], topology=topology, others=tenants, rights=rights(host.target), force=force
    )
    errors = [objection for objection in said if objection.level == ERROR]
    if errors:
        raise refused(errors, "cannot be pinned like that", vm=found.name)
    return [str(objection) for objection in said]


def _changes(settled: Settled, document: Element, *, live: bool) -> bool:
    """Whether anything is new to a configuration. What the kernel alone is told of a running VM is in none."""
    after = deepcopy(document)
    replace(settled, schedulers=Schedulers() if live else settled.schedulers).write(after)
    return side_of(after) != side_of(document)


def _handmade(document: Element) -> dict[str, str] | None:
    """The placement without what does not hold of pins made by hand; None if nothing is left."""
    kept = placement_of(document) or {}
    return {name: value for name, value in kept.items() if name not in HANDMADE} or None


def _carry_out(host: Host, found: Configurations, settled: Settled, work: Work, *, by_hand: bool) -> list[str]:
    """Do it; sentences about what holds from the next boot on only."""
    domain, config = found.domain, found.definition is not None
    postponed: list[str] = []
    with Undo(found.name) as undo, translated(vm=found.name, doing="pin it", host=host.name):
        postponed += apply(host, domain, settled.pins, **found.both, undo=undo, work=work)
        if found.running is not None:
            version = rights(host.target).cgroups
            before = numbers_of(found.running)
            postponed += limit(domain, settled.numbers, before, cgroups=version, config=config, undo=undo)
            postponed += schedule(host, domain, settled.schedulers, config=config, undo=undo)
        if config and (settled.numbers or settled.schedulers):
            work.check()
            redefine(domain, settled.write)
        for flag, document in zip(found.both, (found.running, found.definition)):
            if document is not None and by_hand:
                only = {"live": False, "config": False, flag: True}
                set_placement(domain, _handmade(document), **only, undo=undo)
    return postponed
