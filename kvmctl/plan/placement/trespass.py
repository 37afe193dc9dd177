"""Who else is where a VM is: questions of the verdict about its neighbours. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.plan.placement.finding import Case, Finding, cpus, listed, verb
from kvmctl.plan.placement.occupants import is_bound
from kvmctl.spec.kinds import CpuSet, show_cpus

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology


def floating(case: Case) -> Iterator[Finding]:
    """vCPUs that may run anywhere, and so also where others wish to be alone."""
    if case.tenant.pooled or not case.loose:
        return
    some = len(case.loose) < case.tenant.count
    who = f"{'vCPU' if len(case.loose) == 1 else 'vCPUs'} {show_cpus(case.loose)}" if some else "its vCPUs"
    who += " float" + "s" * (some and len(case.loose) == 1)
    owners = [other.vm for other in case.others if other.exclusive and other.pinned]
    if owners:
        yield Finding(
            code="floats-over-exclusive",
            what=f"{who} over the whole host, also over {cpus(case.held)}, which {listed(owners)} "
            f"{verb(owners, 'is', 'are')} to have alone",
            hint=f"{case.auto} gives it CPUs of its own, kvmctl pin pool keeps it off those of others",
            cpus=case.held,
        )
    else:
        yield Finding(code="vcpus-float", what=f"{who} over the whole host", hint=case.auto)


def shared_cpus(case: Case) -> Iterator[Finding]:
    """CPUs on which another VM has pinned something."""
    for other in case.others:
        common = case.cpus & pins_of(case.topology, other)
        if not common:
            continue
        alone = [tenant.vm for tenant in (other, case.tenant) if tenant.exclusive]
        yield Finding(
            code="exclusive-shared" if alone else "shared-cpus",
            what=f"shares {cpus(common)} with {name_of(other)}"
            + (f", though {listed(alone)} {verb(alone, 'is', 'are')} to be alone there" if alone else ""),
            hint=f"{case.auto}, or kvmctl pin auto {other.vm}",
            cpus=common,
        )
    loose = [other.vm for other in case.others if other.running and not other.pooled and not other.vcpus]
    if case.tenant.exclusive and case.cpus and loose:
        yield Finding(
            code="exclusive-shared",
            what=f"{listed(loose)} {verb(loose, 'floats', 'float')} over the whole host, its exclusive CPUs included",
            hint="kvmctl pin pool keeps VMs that float off exclusive CPUs",
            cpus=case.cpus,
        )


def shared_cores(case: Case) -> Iterator[Finding]:
    """Cores whose other threads are another VM's."""
    siblings = case.threads(case.cores) - case.cpus
    for other in case.others:
        common = siblings & pins_of(case.topology, other, helpers=False)
        if common:
            yield Finding(
                code="shared-cores",
                what=f"shares cores with {name_of(other)}, which has their other threads, {cpus(common)}",
                hint=f"{case.auto}; cpu.placement: {{threads: own_core, exclusive: true}} keeps others off its cores",
                cpus=common,
            )


def pins_of(topology: Topology, other: Tenant, *, helpers: bool = True) -> CpuSet:
    """Where another VM's vCPUs are pinned, and its helpers that were pinned by hand; what floats is nowhere."""
    if other.pooled:
        return frozenset()
    pins = [*other.vcpus.values()]
    if helpers:
        pins += other.handmade
    return frozenset().union(*(pin for pin in pins if is_bound(topology, pin)))


def name_of(tenant: Tenant) -> str:
    return tenant.vm if tenant.running else f"{tenant.vm} (stopped)"
