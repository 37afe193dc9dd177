"""Settles which USB devices of a host a spec means, and has the guard look at those that a VM is to get.

Asks the host only for VMs that have some.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.host.usb.inventory import inventory
from kvmctl.plan.pci.guard import refusal
from kvmctl.plan.usb.choose import choose
from kvmctl.plan.usb.guard import check
from kvmctl.spec.model.usb import given

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.usb.facts import Inventory
    from kvmctl.spec.model.vm import Vm

PASSING = ("device-in-use",)
"""What may be otherwise when the VM starts."""


def settle(host: Host, vm: Vm, *, forced: Collection[str], start: bool) -> tuple[Vm, tuple[str, ...]]:
    """The VM without ports, and what there is to say. Raises for what no start could mend; with `start`, for all."""
    known = inventory(host)
    chosen = choose(known, vm.usb, start=start)
    found = _judged(known, chosen.ports, uuid=vm.uuid or "", name=vm.name or "", forced=forced, now=start)
    notes = [each.what for each in found if each.verdict in ("blocker", "warning")]
    return replace(vm, usb=chosen.entries), tuple(f"{vm.name}: {said}" for said in (*chosen.sentences, *notes))


def look(host: Host, definition: Element, *, forced: Collection[str] = ()) -> tuple[Finding, ...]:
    """Before a start: raise for all that would make it fail or do harm. Nothing for a VM without USB devices."""
    entries = [entry for _, entry in given(definition)]
    if not entries:
        return ()
    known = inventory(host)
    return judged(known, definition, choose(known, entries, start=True).ports, forced=forced, now=True)


def judged(
    known: Inventory, definition: Element, ports: Sequence[str], *, forced: Collection[str], now: bool
) -> tuple[Finding, ...]:
    """What the guard says of these devices for this VM; raises for all blockers at once.

    Unless it is to have them now, what may be otherwise when it starts is no blocker.
    """
    uuid, name = definition.findtext("uuid") or "", definition.findtext("name") or ""
    return _judged(known, ports, uuid=uuid, name=name, forced=forced, now=now)


def _judged(
    known: Inventory, ports: Sequence[str], *, uuid: str, name: str, forced: Collection[str], now: bool
) -> tuple[Finding, ...]:
    found = check(known, ports, uuid=uuid, forced=forced)
    error = refusal([each for each in found if now or each.code not in PASSING], vm=name)
    if error is not None:
        raise error
    return found
