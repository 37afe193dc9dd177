"""Whether a host can give what a spec asks for: found before libvirt refuses, all at once, and said by key. Pure.

Overcommitting is possible and so no error; it is said. What only looks wrong is for `placement/verdict.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvmctl.plan import possible_cpus, possible_memory
from kvmctl.plan.objection import ERROR, NOTE, Asked, Objection, refused

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology
    from kvmctl.spec.model.vm import Vm


def impossible(
    vm: Vm, topology: Topology, tenants: Sequence[Tenant], *, privileged: bool, cgroups: bool | None
) -> tuple[Objection, ...]:
    """All that speaks against the spec on this host, errors first.

    `tenants` are the VMs of the host; the spec's own, if it is among them, does not count, nor do stopped ones where
    the spec says so. `privileged` and `cgroups` are those of `objection.Asked`.
    """
    ignored = vm.cpu and vm.cpu.placement and vm.cpu.placement.stopped == "ignore"
    others = [tenant for tenant in tenants if tenant.vm != vm.name and (tenant.running or not ignored)]
    asked = Asked(vm=vm, topology=topology, others=others, privileged=privileged, cgroups=cgroups)
    found = [*possible_cpus.objections(asked), *possible_memory.objections(asked)]
    return tuple(sorted(found, key=lambda objection: objection.level != ERROR))


def check_possible(
    vm: Vm, topology: Topology, tenants: Sequence[Tenant], *, host: str, privileged: bool, cgroups: bool | None
) -> tuple[str, ...]:
    """Raise one Refused for all that is impossible; else the notes, in sentences for people."""
    found = impossible(vm, topology, tenants, privileged=privileged, cgroups=cgroups)
    errors = [objection for objection in found if objection.level == ERROR]
    if errors:
        codes = {objection.code for objection in errors}
        code = possible_cpus.EXCLUSIVE if codes == {possible_cpus.EXCLUSIVE} else "impossible"
        raise refused(errors, f"{host} cannot have it", code=code, vm=vm.name or "")
    return tuple(f"{vm.name}: {objection}" for objection in found if objection.level == NOTE)


def overcommitted(vm: Vm, topology: Topology) -> tuple[str, ...]:
    """Sentences about what is more than the whole host has. For a spec that wants no place: it may float, and swap."""
    found = impossible(vm, topology, (), privileged=True, cgroups=None)
    return tuple(f"{vm.name}: {objection}" for objection in found)
