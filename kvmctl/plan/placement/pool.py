"""What floats is kept off the CPUs that exclusive VMs have: VMs in the pool, and helpers that kvmctl has placed. Pure.

`refit` gives every one of them the place it would have if it were placed now, so that they are moved away when CPUs
become exclusive, and get them back when they no longer are. What was pinned by hand is left alone, whatever it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from kvmctl.plan.placement.finding import Finding, listed
from kvmctl.plan.placement.ground import Ground, held_by, helper_cpus
from kvmctl.plan.placement.wish import Wish
from kvmctl.plan.topology import EMULATOR, iothread

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology
    from kvmctl.spec.kinds import CpuSet


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where threads of a VM are to float from now on; None is left as it is. `vcpus` is for each of its vCPUs."""

    vm: str
    uuid: str
    vcpus: CpuSet | None = None
    emulator: CpuSet | None = None
    iothreads: Mapping[int, CpuSet] | None = None


def refit(topology: Topology, tenants: Sequence[Tenant]) -> tuple[Move, ...]:
    """What must move, given all VMs of a host with the one that is new or changed among them; in their order."""
    pool = pool_cpus(topology, tenants)
    # A VM is on no helper CPU of its own, so all can look at the same ground, where each stands among the others.
    ground = Ground(topology=topology, tenants=tenants, wish=Wish(vm="", vcpus=1))
    return tuple(move for tenant in tenants for move in _move(ground, tenant, pool))


def pool_cpus(topology: Topology, tenants: Sequence[Tenant]) -> CpuSet:
    """CPUs for VMs in the pool: nobody's own, and not isolated. Where none are left: all that are not isolated."""
    held = held_by(topology, tenants)
    kept = frozenset(number for number in topology.online if not topology.cpus[number].isolated) or topology.online
    return kept - held or kept


def findings(topology: Topology, tenants: Sequence[Tenant]) -> tuple[Finding, ...]:
    """That the VMs of the pool have no CPUs left to themselves."""
    pooled = [tenant.vm for tenant in tenants if tenant.pooled]
    trodden = pool_cpus(topology, tenants) & held_by(topology, tenants)
    if not pooled or not trodden:
        return ()
    owners = [tenant.vm for tenant in tenants if held_by(topology, (tenant,)) & trodden]
    return (
        Finding(
            code="pool-empty",
            what=f"no CPU is left for the VMs of the pool ({listed(pooled)}): they share those of {listed(owners)}",
            hint=f"kvmctl pin auto {owners[-1]} --no-exclusive",
            cpus=trodden,
        ),
    )


def _move(ground: Ground, tenant: Tenant, pool: CpuSet) -> Iterator[Move]:
    """The move of one VM, if it is one."""
    if tenant.pooled:
        target = pool
        apart = any(tenant.vcpus.get(number) != pool for number in {*range(tenant.count), *tenant.vcpus})
        vcpus = pool if apart else None
    elif tenant.automatic and tenant.pinned & ground.topology.online:
        target = helper_cpus(ground, tenant.pinned & ground.topology.online)
        vcpus = None
    else:
        return
    kept = frozenset() if tenant.pooled else tenant.by_hand
    emulator = target if tenant.emulator != target and EMULATOR not in kept else None
    ours = [number for number in _iothreads(tenant) if iothread(number) not in kept]
    iothreads = {number: target for number in ours if tenant.iothreads.get(number) != target}
    if vcpus or emulator or iothreads:
        yield Move(vm=tenant.vm, uuid=tenant.uuid, vcpus=vcpus, emulator=emulator, iothreads=iothreads or None)


def _iothreads(tenant: Tenant) -> list[int]:
    """The numbers of its iothreads: those that are pinned, and as libvirt numbers the rest."""
    free = (number for number in count(1) if number not in tenant.iothreads)
    missing = max(0, tenant.iothread_count - len(tenant.iothreads))
    return sorted([*tenant.iothreads, *(next(free) for _ in range(missing))])
