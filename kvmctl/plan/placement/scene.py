"""What a picture of a host is drawn from: its L3 groups, and what there is to say at each CPU. Pure; draws nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmctl.plan.placement.conflicts import Conflict, conflicts
from kvmctl.plan.placement.ground import held_by
from kvmctl.plan.placement.occupants import Occupant, by_vm, occupants, threads
from kvmctl.plan.placement.text import VM_STYLES, Line, Span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmctl.plan.topology import HostCpu, Tenant, Topology
    from kvmctl.spec.kinds import CpuSet

IDLE, AMONG, KEPT = "-", "~", "kept"
"""What stands at a CPU that nobody is bound to, at one to which threads are bound that have others as well, and at one
that an exclusive VM wants to be nobody's."""
CONFLICT, LATER = "!", "?"
"""What follows where there is a conflict, now or once a VM starts."""
ISOLATED = "*"
PLANNED = "+"
ROOM = 24
"""So long may names be at a CPU that several VMs have."""
MARGIN = 6
FEW = 2
"""So many VMs with the same threads are named one by one."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """An L3 group, as far as it is within one node, socket and die. Cores and CPUs are those that are online."""

    node: int
    socket: int
    die: int
    cpus: CpuSet
    cores: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A host with its VMs. `planned` is the one among them that is not there yet."""

    topology: Topology
    tenants: Sequence[Tenant]
    planned: Tenant | None = None
    width: int = 80

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The L3 groups, by their lowest CPU."""
        members: dict[tuple[int, int, int, int], list[HostCpu]] = {}
        for number in sorted(self.topology.online):
            cpu = self.topology.cpus[number]
            members.setdefault((cpu.node, cpu.socket, cpu.die, cpu.cache), []).append(cpu)
        return tuple(
            Group(
                node=node,
                socket=socket,
                die=die,
                cpus=frozenset(cpu.number for cpu in cpus),
                cores=tuple(dict.fromkeys(cpu.core for cpu in cpus)),
            )
            for (node, socket, die, _), cpus in members.items()
        )

    @cached_property
    def conflicts(self) -> tuple[Conflict, ...]:
        return conflicts(self.topology, self.tenants)

    @cached_property
    def occupants(self) -> tuple[Occupant, ...]:
        return occupants(self.topology, self.tenants)

    @cached_property
    def alone(self) -> Mapping[int, Sequence[Occupant]]:
        """Threads that have but one CPU, by it."""
        found: dict[int, list[Occupant]] = {}
        for occupant in self.occupants:
            if len(occupant.cpus) == 1:
                found.setdefault(min(occupant.cpus), []).append(occupant)
        return found

    @cached_property
    def several(self) -> Mapping[CpuSet, Sequence[Occupant]]:
        """Threads that have several CPUs, by those."""
        found: dict[CpuSet, list[Occupant]] = {}
        for occupant in self.occupants:
            if len(occupant.cpus) > 1:
                found.setdefault(occupant.cpus, []).append(occupant)
        return found

    @cached_property
    def crowded(self) -> CpuSet:
        """CPUs that more VMs have alone than there is room for beside their numbers."""
        return frozenset(
            cpu
            for cpu, there in self.alone.items()
            if len(found := by_vm(there)) > 1 and sum(len(self.name(*each).text) + 1 for each in found) > ROOM + 1
        )

    @cached_property
    def listed(self) -> Mapping[CpuSet, Sequence[Occupant]]:
        """Threads that are named in lines of their own, by their CPUs."""
        return {**{frozenset((cpu,)): self.alone[cpu] for cpu in self.crowded}, **self.several}

    @cached_property
    def digits(self) -> int:
        """The width of the CPUs' numbers."""
        return max(len(self.number(cpu)) for cpu in self.topology.cpus)

    @cached_property
    def room(self) -> int:
        """How long a name may be, so that a core with two threads fits in a line."""
        threads = min(2, max(map(len, self.topology.cores.values()), default=1))
        return max(ROOM // 2, (self.width - MARGIN) // threads - self.digits - MARGIN)

    @cached_property
    def kept(self) -> CpuSet:
        """CPUs that exclusive VMs have, or want to be nobody's."""
        return held_by(self.topology, self.tenants)

    @cached_property
    def idle(self) -> CpuSet:
        """CPUs that nobody is bound to or wants for himself."""
        return self.topology.online - self.kept - self._among - self.alone.keys()

    @cached_property
    def _among(self) -> CpuSet:
        return frozenset().union(*self.several)

    @cached_property
    def _conflicting(self) -> dict[bool, CpuSet]:
        """CPUs with conflicts: those of now, and those to come."""
        return {
            now: frozenset(cpu for found in self.conflicts if found.now == now for cpu in found.cpus)
            for now in (True, False)
        }

    @cached_property
    def _styles(self) -> dict[str, str]:
        return {tenant.vm: VM_STYLES[number % len(VM_STYLES)] for number, tenant in enumerate(self.tenants)}

    def emptiness(self, cpu: int) -> str:
        """What stands at a CPU that nobody has alone."""
        return AMONG if cpu in self._among else KEPT if cpu in self.kept else IDLE

    def mark(self, cpus: Collection[int]) -> Line:
        """What follows where any of these CPUs is in a conflict."""
        if not self._conflicting[True].isdisjoint(cpus):
            return (Span(f" {CONFLICT}", "conflict"),)
        return () if self._conflicting[False].isdisjoint(cpus) else (Span(f" {LATER}", "doubt"),)

    def name(self, tenant: Tenant, found: Sequence[Occupant] = ()) -> Span:
        """A VM, or threads of it: `web1:0-3,emu`; in brackets if it does not run."""
        said = f"{tenant.vm}:{threads(found)}" if found else tenant.vm
        if tenant is self.planned:
            return Span(PLANNED + said, "planned")
        return Span(said if tenant.running else f"({said})", self._styles[tenant.vm])

    def names(self, found: Iterable[tuple[Tenant, Sequence[Occupant]]]) -> Iterator[Line]:
        """Threads of several VMs; where many have the same ones, those are named once: `emu of web1 web2 web3`."""
        alike: dict[str, list[tuple[Tenant, Sequence[Occupant]]]] = {}
        for tenant, several in found:
            alike.setdefault(threads(several), []).append((tenant, several))
        single = [member for members in alike.values() if len(members) <= FEW for member in members]
        yield from ((self.name(*member),) for member in single)
        for same, members in alike.items():
            if len(members) > FEW:
                yield (Span(f"{'vCPUs ' if same[0].isdigit() else ''}{same} of", "dim"),)
                yield from ((self.name(tenant),) for tenant, _ in members)

    def number(self, cpu: int) -> str:
        return f"{cpu}{ISOLATED * self.is_isolated(cpu)}"

    def is_isolated(self, cpu: int) -> bool:
        return bool(self.topology.cpus[cpu].isolated)
