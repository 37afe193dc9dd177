"""Who is where on a host: every thread of a VM that is bound to CPUs. Pure.

Not among them are threads that may run anywhere, a pin to every CPU there is included, and those of VMs in the pool,
which kvmctl moves about as it likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from kvmctl.spec.kinds import CpuSet, show_cpus

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology

VCPU = "vcpu"
EMULATOR = "emulator"
IOTHREAD = "iothread"
SHORT = {VCPU: "", EMULATOR: "emu", IOTHREAD: "io"}


@dataclass(frozen=True, kw_only=True)
class Occupant:
    """One thread of a VM and the CPUs that it is bound to, of those that are online. An emulator has no number."""

    tenant: Tenant
    kind: str
    number: int | None
    cpus: CpuSet


def occupants(topology: Topology, tenants: Iterable[Tenant]) -> tuple[Occupant, ...]:
    """The bound threads of these VMs."""
    return tuple(occupant for tenant in tenants for occupant in _of(topology, tenant))


def _of(topology: Topology, tenant: Tenant) -> Iterator[Occupant]:
    if tenant.pooled:
        return
    pins: list[tuple[str, int | None, CpuSet | None]] = [(VCPU, *pin) for pin in tenant.vcpus.items()]
    pins.append((EMULATOR, None, tenant.emulator))
    pins += [(IOTHREAD, *pin) for pin in tenant.iothreads.items()]
    for kind, number, cpus in pins:
        if cpus and is_bound(topology, cpus):
            yield Occupant(tenant=tenant, kind=kind, number=number, cpus=cpus & topology.online)


def is_bound(topology: Topology, cpus: CpuSet) -> bool:
    """False for a pin to every CPU there is, which is none. Where there is but one CPU, it is one."""
    return not cpus >= topology.online or len(topology.online) == 1


def loose(topology: Topology, tenant: Tenant) -> CpuSet:
    """The vCPUs that may run anywhere."""
    bound = (number for number, cpus in tenant.vcpus.items() if is_bound(topology, cpus))
    return frozenset(range(tenant.count)).difference(bound)


def by_cpu(found: Iterable[Occupant]) -> dict[int, list[Occupant]]:
    """The threads that may run on each CPU."""
    there: dict[int, list[Occupant]] = {}
    for occupant in found:
        for cpu in occupant.cpus:
            there.setdefault(cpu, []).append(occupant)
    return there


def threads(found: Sequence[Occupant]) -> str:
    """Threads of one VM in short: vCPUs by their numbers, emu for the emulator, io for iothreads: `0-3,emu,io1`."""
    parts = []
    for kind, several in groupby(found, key=lambda occupant: occupant.kind):
        numbers = frozenset(occupant.number for occupant in several if occupant.number is not None)
        parts.append(SHORT[kind] + (show_cpus(numbers) if numbers else ""))
    return ",".join(parts)


def by_vm(found: Iterable[Occupant]) -> list[tuple[Tenant, list[Occupant]]]:
    """Threads, those of each VM together, in the order in which they came."""
    there: dict[str, list[Occupant]] = {}
    for occupant in found:
        there.setdefault(occupant.tenant.vm, []).append(occupant)
    return [(several[0].tenant, several) for several in there.values()]
