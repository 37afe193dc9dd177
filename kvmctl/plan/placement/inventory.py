"""A host and who is where on it, as plain values for programs. Pure. Sizes are bytes, CPU sets as Linux writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.plan.placement.conflicts import conflicts
from kvmctl.plan.placement.occupants import by_cpu, loose, occupants
from kvmctl.plan.topology import NOWHERE
from kvmctl.spec.kinds import CpuSet, show_cpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmctl.plan.placement.occupants import Occupant
    from kvmctl.plan.topology import HostCpu, NumaNode, Tenant, Topology

Values = dict[str, Any]
PLACE = ("socket", "die", "cluster", "core", "cache")


def inventory(topology: Topology, tenants: Sequence[Tenant]) -> Values:
    """All there is to say."""
    there = by_cpu(occupants(topology, tenants))
    return {
        "cpus": [_cpu(cpu, there.get(number, ())) for number, cpu in sorted(topology.cpus.items())],
        "nodes": [_node(node, topology) for node in topology.nodes.values()],
        "caches": _caches(topology),
        "devices": [
            {
                "address": device.address,
                "node": device.node,
                "type": device.what,
                "product": device.product,
                "virtual": device.virtual,
                "interfaces": list(device.interfaces),
            }
            for device in topology.devices
        ],
        "vms": [_vm(tenant, topology) for tenant in tenants],
        "conflicts": [
            {
                "code": conflict.code,
                "what": conflict.what,
                "cpus": show_cpus(conflict.cpus),
                "vms": list(conflict.vms),
                "now": conflict.now,
            }
            for conflict in conflicts(topology, tenants)
        ],
    }


def _cpu(cpu: HostCpu, there: Iterable[Occupant]) -> Values:
    # Where one is that is offline, the kernel does not tell, but for its node.
    place = {name: getattr(cpu, name) if cpu.online else None for name in PLACE}
    return {
        "number": cpu.number,
        "node": None if cpu.node == NOWHERE else cpu.node,
        **place,
        "online": cpu.online,
        "isolated": cpu.isolated,
        "occupants": [
            {"vm": occupant.tenant.vm, "kind": occupant.kind, "number": occupant.number} for occupant in there
        ],
    }


def _node(node: NumaNode, topology: Topology) -> Values:
    cpus = frozenset(number for number, cpu in topology.cpus.items() if cpu.node == node.number)
    return {
        "number": node.number,
        "cpus": show_cpus(cpus),
        "memory": node.memory,
        "memory_free": node.free,
        "hugepages": [{"size": size, "total": pool.total, "free": pool.free} for size, pool in node.pages.items()],
        "distances": {str(other): distance for other, distance in node.distances.items()},
    }


def _caches(topology: Topology) -> list[Values]:
    groups: dict[int, set[int]] = {}
    for number in sorted(topology.online):
        groups.setdefault(topology.cpus[number].cache, set()).add(number)
    return [{"number": cache, "cpus": show_cpus(frozenset(cpus))} for cache, cpus in groups.items()]


def _vm(tenant: Tenant, topology: Topology) -> Values:
    return {
        "name": tenant.vm,
        "uuid": tenant.uuid,
        "running": tenant.running,
        "vcpus": tenant.count,
        "iothreads": tenant.iothread_count,
        "pins": {
            "vcpus": {str(number): show_cpus(cpus) for number, cpus in tenant.vcpus.items()},
            "emulator": _set(tenant.emulator),
            "iothreads": {str(number): show_cpus(cpus) for number, cpus in tenant.iothreads.items()},
        },
        "floating": [] if tenant.pooled else sorted(loose(topology, tenant)),
        "exclusive": tenant.exclusive,
        "whole_cores": tenant.whole_cores,
        "automatic": tenant.automatic,
        "pooled": tenant.pooled,
        "memory": tenant.memory,
        "page_size": tenant.page_size,
        "memory_nodes": _set(tenant.memory_nodes),
    }


def _set(numbers: CpuSet | None) -> str | None:
    return show_cpus(numbers) if numbers else None
