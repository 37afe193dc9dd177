"""What a verdict is made of: the finding, and one VM among others as the questions about it see it. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmctl.plan.placement.ground import held_by
from kvmctl.plan.placement.occupants import is_bound, loose
from kvmctl.spec.kinds import CpuSet, show_cpus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmctl.plan.topology import Tenant, Topology


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong: a stable code, a sentence, what to do about it, and the CPUs that it is about."""

    code: str
    what: str
    hint: str
    cpus: CpuSet = frozenset()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One VM among others. All sets are of what is online; a pin to every CPU there is counts as none."""

    topology: Topology
    tenant: Tenant
    others: Sequence[Tenant]

    @cached_property
    def vcpus(self) -> Mapping[int, CpuSet]:
        """The vCPUs that are pinned, with their CPUs."""
        online = self.topology.online
        pins = {} if self.tenant.pooled else self.tenant.vcpus
        return {
            number: cpus & online for number, cpus in pins.items() if cpus & online and is_bound(self.topology, cpus)
        }

    @cached_property
    def loose(self) -> CpuSet:
        """The vCPUs that float."""
        return loose(self.topology, self.tenant)

    @cached_property
    def cpus(self) -> CpuSet:
        """The CPUs of its vCPUs."""
        return frozenset().union(*self.vcpus.values())

    @cached_property
    def cores(self) -> CpuSet:
        return frozenset(self.topology.cpus[cpu].core for cpu in self.cpus)

    @cached_property
    def nodes(self) -> CpuSet:
        return frozenset(self.topology.cpus[cpu].node for cpu in self.cpus)

    @cached_property
    def held(self) -> CpuSet:
        """CPUs that others have for themselves."""
        return held_by(self.topology, self.others)

    @property
    def auto(self) -> str:
        """The remedy for most of what can be wrong."""
        return f"kvmctl pin auto {self.tenant.vm}"

    def threads(self, cores: CpuSet) -> CpuSet:
        """The CPUs of these cores."""
        return frozenset(cpu for core in cores for cpu in self.topology.cores.get(core, ()))


def cpus(numbers: CpuSet) -> str:
    return f"{'CPU' if len(numbers) == 1 else 'CPUs'} {show_cpus(numbers)}"


def nodes(numbers: CpuSet) -> str:
    return f"{'node' if len(numbers) == 1 else 'nodes'} {show_cpus(numbers)}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """a, b and c; of many the first ones, and how many more."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def verb(things: Sized, one: str, many: str) -> str:
    """is or are, has or have."""
    return one if len(things) == 1 else many
