"""Memory, huge pages, pins and nodes at the target, by what any VM there is judged by, and what is free now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker, note, warning
from kvmctl.plan.objection import ERROR, Objection
from kvmctl.plan.possible import impossible
from kvmctl.plan.tuning import open_again
from kvmctl.spec.declare import read
from kvmctl.spec.kinds import show_size
from kvmctl.spec.model.vm import Vm

if TYPE_CHECKING:
    from kvmctl.plan.migration.ends import End, Ends
    from kvmctl.plan.migration.finding import Finding

MIB = 2**20
SHORT = "memory-short"


def memory(ends: Ends) -> Iterator[Finding]:
    yield from _objections(ends)
    yield from _free(ends)
    if ends.target.unplaceable:
        what = ends.target.unplaceable
        hint = (
            f"kvmctl pin clear {ends.guest.name} lets it float; kvmctl host topology -H {ends.target.name} shows more"
        )
        yield blocker("nothing-fits", what, hint)


def _objections(ends: Ends) -> Iterator[Finding]:
    pages = ends.guest.tenant is not None and ends.guest.tenant.page_size is not None
    here = {(each.code, each.path) for each in _against(ends, ends.source, alone=True)}
    for each in _against(ends, ends.target):
        if each.level == ERROR:
            hint = each.hint.replace("kvmctl host topology", f"kvmctl host topology -H {ends.target.name}")
            yield blocker(each.code, f"{ends.target.name}: {each}", hint or "change its definition", subject=each.path)
        elif each.code == SHORT and pages and ends.guest.running:
            yield blocker("hugepages-short", f"{ends.target.name}: {each}", each.hint, subject=each.path)
        elif (each.code, each.path) not in here:
            yield note(each.code, f"{ends.target.name}: {each}", each.hint, subject=each.path)


def _against(ends: Ends, end: End, *, alone: bool = False) -> Sequence[Objection]:
    """What speaks against the VM on this host; alone, without the other VMs there."""
    if end.topology is None:
        return ()
    vm = read(Vm, ends.xml)
    if ends.guest.tenant is not None and ends.guest.tenant.automatic:
        vm = open_again(vm)  # its pins are chosen anew
    others = () if alone else [tenant for tenant in end.tenants if tenant.uuid != ends.guest.uuid]
    return impossible(vm, end.topology, others, privileged=True, cgroups=None)


def _free(ends: Ends) -> Iterator[Finding]:
    """Ordinary memory. The guest needs at once what it has touched, and in the end perhaps all."""
    guest, free = ends.guest, ends.target.memory_free
    pages = guest.tenant is not None and guest.tenant.page_size is not None
    if free is None or pages or not guest.running or guest.memory <= free:
        return
    hint = f"stop or move VMs there: kvmctl list -H {ends.target.name}"
    what = f"{ends.target.name} has {_size(free)} of memory free, and the guest has {_size(guest.memory)}"
    if guest.resident is not None and guest.resident > free:
        yield blocker("memory-missing", f"{what}, of which it uses {_size(guest.resident)}", hint)
    else:
        yield warning("memory-tight", what, hint)


def _size(size: int) -> str:
    return show_size(size // MIB * MIB) if size >= MIB else show_size(size)
