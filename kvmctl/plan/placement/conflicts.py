"""Where VMs of a host are in each other's way: the verdict's questions, asked of all VMs at once. Pure.

Codes are those of the verdict. CPUs on which the same VMs meet are one conflict, so that a crowd is told in a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.plan.placement.finding import cpus, listed, verb
from kvmctl.plan.placement.ground import held_by
from kvmctl.plan.placement.occupants import VCPU, Occupant, by_cpu, occupants
from kvmctl.plan.placement.verdict import findings

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology
    from kvmctl.spec.kinds import CpuSet

EXCLUSIVE = "exclusive-shared"
SHARED = "shared-cpus"
HELPERS = "helpers-on-vcpu-cores"
ITS_OWN = ("vcpus-crowded", "offline-cpus")
"""What is wrong with a VM whoever else is there."""

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """VMs that take each other's time, or one that takes its own. `now` is False if one of them must start first."""

    code: str
    what: str
    vms: Names
    cpus: CpuSet
    now: bool


def conflicts(topology: Topology, tenants: Sequence[Tenant]) -> tuple[Conflict, ...]:
    """All conflicts of a host, the worst first."""
    found = occupants(topology, tenants)
    return (*_meetings(topology, tenants, found), *_helpers(topology, tenants, found), *_its_own(topology, tenants))


def _meetings(topology: Topology, tenants: Sequence[Tenant], found: Sequence[Occupant]) -> Iterator[Conflict]:
    """vCPUs of several VMs on one CPU, and anything of another VM on a CPU that one has for itself."""
    owners = _owners(topology, tenants)
    alone: dict[tuple[Names, Names], set[int]] = {}
    shared: dict[Names, set[int]] = {}
    for cpu, there in by_cpu(found).items():
        owning = owners.get(cpu, ())
        others = _names(occupant for occupant in there if owning != (occupant.tenant.vm,))
        if owning and others:
            alone.setdefault((owning, others), set()).add(cpu)
            continue
        sharing = _names(occupant for occupant in there if occupant.kind == VCPU)
        if len(sharing) > 1:
            shared.setdefault(sharing, set()).add(cpu)
    running = {tenant.vm for tenant in tenants if tenant.running}
    for (owning, others), numbers in sorted(alone.items(), key=_lowest):
        strangers = [name for name in others if name not in owning]
        what = f"{cpus(frozenset(numbers))} {verb(numbers, 'belongs', 'belong')} to {listed(owning)} alone"
        what += f", and {listed(strangers)} {verb(strangers, 'is', 'are')} there too" if strangers else " each"
        ours, theirs = running.intersection(owning), running.intersection(strangers)
        now = len(ours) > 1 or bool(ours and theirs)
        yield Conflict(code=EXCLUSIVE, what=what, vms=(*owning, *strangers), cpus=frozenset(numbers), now=now)
    for sharing, numbers in sorted(shared.items(), key=_lowest):
        what = f"{listed(sharing)} share {cpus(frozenset(numbers))}"
        now = len(running.intersection(sharing)) > 1
        yield Conflict(code=SHARED, what=what, vms=sharing, cpus=frozenset(numbers), now=now)


def _helpers(topology: Topology, tenants: Sequence[Tenant], found: Sequence[Occupant]) -> Iterator[Conflict]:
    """Emulators and iothreads that cannot but run on cores of vCPUs."""
    known = topology.cpus
    on_core: dict[int, list[Occupant]] = {}
    for occupant in found:
        if occupant.kind == VCPU:
            for core in {known[cpu].core for cpu in occupant.cpus}:
                on_core.setdefault(core, []).append(occupant)
    groups: dict[tuple[Names, CpuSet], list[Occupant]] = {}
    for occupant in found:
        cores = {known[cpu].core for cpu in occupant.cpus}
        if occupant.kind != VCPU and cores and cores <= on_core.keys():
            whose = _names(there for core in cores for there in on_core[core])
            groups.setdefault((whose, occupant.cpus), []).append(occupant)
    running = {tenant.vm for tenant in tenants if tenant.running}
    for (whose, numbers), several in groups.items():
        names = _names(several)
        kinds = [helper.kind for helper in several]
        what = listed([kind + "s" * (kinds.count(kind) > 1) for kind in dict.fromkeys(kinds)])
        whom = f"{verb(names, 'its', 'their')} own vCPUs" if whose == names else f"vCPUs of {listed(whose)}"
        what = (
            f"the {what} of {listed(names)} {verb(several, 'is', 'are')} bound to {cpus(numbers)}, on cores of {whom}"
        )
        now = bool(running.intersection(names) and running.intersection(whose))
        yield Conflict(code=HELPERS, what=what, vms=tuple(dict.fromkeys((*names, *whose))), cpus=numbers, now=now)


def _its_own(topology: Topology, tenants: Sequence[Tenant]) -> Iterator[Conflict]:
    for tenant in tenants:
        for finding in findings(topology, tenant, (), None):
            if finding.code in ITS_OWN:
                what = f"{tenant.vm}: {finding.what}"
                yield Conflict(code=finding.code, what=what, vms=(tenant.vm,), cpus=finding.cpus, now=tenant.running)


def _owners(topology: Topology, tenants: Sequence[Tenant]) -> dict[int, Names]:
    """The exclusive VMs that have each CPU."""
    found: dict[int, Names] = {}
    for tenant in tenants:
        if tenant.exclusive:
            for cpu in held_by(topology, [tenant]):
                found[cpu] = (*found.get(cpu, ()), tenant.vm)
    return found


def _names(found: Iterable[Occupant]) -> Names:
    return tuple(sorted({occupant.tenant.vm for occupant in found}))


def _lowest(group: tuple[object, set[int]]) -> int:
    return min(group[1])
