"""The pool of a host: VMs without pins of their own, kept off the CPUs that exclusive VMs have.

A VM of the pool is marked in its metadata, so that it moves when exclusive CPUs are taken or given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.host.connection import translated
from kvmctl.host.moving import refit_others
from kvmctl.host.pinning import set_placement
from kvmctl.host.surroundings import Surroundings
from kvmctl.host.tenants import tenants
from kvmctl.host.topology import topology
from kvmctl.host.unpinning import clear
from kvmctl.plan.placement.pins import placement_of
from kvmctl.plan.placement.pool import findings, pool_cpus
from kvmctl.spec.kinds import show_cpus
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work

POOLED = "pooled"


def pool(host: Host, work: Work, *, off: bool) -> dict[str, Any]:
    """Have all VMs that float keep to the pool, or none any longer. The answer of `pin pool`."""
    ground = topology(host)
    everyone = [tenant.on(ground) for tenant in tenants(host)]
    chosen = [tenant for tenant in everyone if (tenant.pooled if off else not tenant.vcpus and not tenant.pooled)]
    for tenant in chosen:
        work.check()
        with translated(vm=tenant.vm, doing="change whether it keeps to the pool"):
            domain = host.conn.lookupByUUIDString(tenant.uuid)
            kept = placement_of(parse(domain.XMLDesc(0))) or {}
            kept = {name: value for name, value in kept.items() if name != POOLED} | ({} if off else {POOLED: "yes"})
            live, config = bool(domain.isActive()), bool(domain.isPersistent())
            set_placement(domain, kept or None, live=live, config=config)
        if off:
            clear(host, tenant.uuid, work, Surroundings())
    notes = refit_others(host)
    after = [tenant.on(ground) for tenant in tenants(host)]
    return {
        "host": host.name,
        "cpus": None if off else show_cpus(pool_cpus(ground, after)),
        "vms": [tenant.vm for tenant in after if tenant.pooled],
        "changed": [tenant.vm for tenant in chosen],
        "notes": [*notes, *(found.what for found in findings(ground, after))],
    }
