"""Why a VM is placed as it is: a few sentences for people, each about a criterion of `cost.py` that matters here.

Nothing is guessed: a cause is named only where the facts leave no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmctl.plan.check_facts import size
from kvmctl.plan.placement.finding import cpus as cpus_of
from kvmctl.plan.placement.finding import listed, verb
from kvmctl.plan.placement.finding import nodes as nodes_of
from kvmctl.plan.placement.ground import Ground
from kvmctl.plan.placement.trials import counted
from kvmctl.spec.kinds import CpuSet, show_cpus

if TYPE_CHECKING:
    from kvmctl.plan.placement.wish import Cost, Placement, Wish
    from kvmctl.plan.topology import Tenant, Topology


def reason(
    topology: Topology,
    tenants: Sequence[Tenant],
    wish: Wish,
    placement: Placement,
    *,
    devices: Mapping[int, Sequence[str]] | None = None,
) -> tuple[str, ...]:
    """The sentences. `devices` are the names under which `wish.near` was asked for, by node."""
    case = _Case(topology=topology, tenants=tenants, wish=wish, placement=placement)
    return (
        *_near(case, devices or {}),
        _vcpus(case),
        *_nodes(case),
        *_overcommit(case),
        *_cores(case),
        *_neighbours(case),
        *_memory(case),
        *_helpers(case),
        _certificate(case),
    )


def figures(cost: Cost, wish: Wish) -> str:
    """What a placement costs, in words; only what is not nothing."""
    spread = wish.policy == "spread"
    said = (
        (cost.overcommit, f"{cost.overcommit} {_many(cost.overcommit, 'thread')} of other VMs on its CPUs"),
        (cost.remote_memory, f"{size(cost.remote_memory)} of memory away from the vCPUs"),
        (cost.distance, f"distance {cost.distance}"),
        (cost.neighbours, f"{cost.neighbours} L3 {_many(cost.neighbours, 'cache')} with other VMs"),
        (cost.caches, f"{cost.caches} L3 {_many(cost.caches, 'cache')}{' unused' if spread else ''}"),
        (cost.cores, f"{cost.cores} {_many(cost.cores, 'core')} split or shared"),
        (cost.helpers, "helpers on another node" if cost.helpers == wish.helpers else "helpers on vCPUs' CPUs"),
        (cost.fragments, f"{cost.fragments} {_many(cost.fragments, 'CPU')} left over beside it"),
    )
    return ", ".join(words for number, words in said if number) or "nothing"


def _many(number: int, what: str) -> str:
    return what if number == 1 else f"{what}s"


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A placement, and what the questions about it have in common."""

    topology: Topology
    tenants: Sequence[Tenant]
    wish: Wish
    placement: Placement

    @cached_property
    def ground(self) -> Ground:
        return Ground(topology=self.topology, tenants=self.tenants, wish=self.wish)

    @cached_property
    def chosen(self) -> CpuSet:
        return frozenset(self.placement.vcpus)

    @cached_property
    def nodes(self) -> CpuSet:
        return frozenset(self.topology.cpus[number].node for number in self.chosen)

    @cached_property
    def cores(self) -> Mapping[int, CpuSet]:
        """The cores used, with all of their threads."""
        used = {self.topology.cpus[number].core for number in self.chosen}
        return {core: frozenset(self.topology.cores[core]) for core in sorted(used)}

    @cached_property
    def caches(self) -> CpuSet:
        return frozenset(self.topology.cpus[number].cache for number in self.chosen)

    @cached_property
    def offered(self) -> Counter[int]:
        """By node, how many of these vCPUs it could take."""
        found = {(self.topology.cpus[number].node, self._seat(number)) for number in self.ground.usable}
        return Counter(node for node, _ in found)

    def _seat(self, number: int) -> int:
        return self.topology.cpus[number].core if self.wish.threads == "own_core" else number

    def on(self, numbers: CpuSet, *, helpers: bool = False) -> list[str]:
        """The VMs whose vCPUs, and maybe whose helpers that are pinned by hand, are on some of these CPUs."""
        return [one.vm for one in self.tenants if numbers & (counted(one) if helpers else one.pinned)]


def _near(case: _Case, devices: Mapping[int, Sequence[str]]) -> Iterator[str]:
    for home in sorted(set(case.wish.near)):
        names = listed(devices.get(home) or ["the device it is to be near to"])
        be = "are" if len(devices.get(home, ())) > 1 else "is"
        if case.nodes == {home}:
            yield f"{nodes_of(case.nodes)}, since {names} {be} there"
        elif home in case.nodes:
            yield f"{nodes_of(case.nodes)}: {names} {be} on node {home}"
        else:
            room = case.offered[home]
            why = f", which has room for {room or 'none'} of the vCPUs" if room < case.wish.vcpus else ""
            yield f"{nodes_of(case.nodes)}, though {names} {be} on node {home}{why}"


def _vcpus(case: _Case) -> str:
    wish, count = case.wish, len(case.cores)
    vcpus = f"{wish.vcpus} {'vCPU' if wish.vcpus == 1 else 'vCPUs'}"
    whole = sum(threads <= case.chosen for threads in case.cores.values())
    single = all(len(threads) == 1 for threads in case.cores.values())
    kind = "" if single or wish.threads == "own_core" or whole < count else "whole "
    said = f"{vcpus} on {count} {kind}{_many(count, 'core')} ({show_cpus(case.chosen)})"
    if len({cpu.cache for cpu in case.topology.cpus.values()}) > 1:
        said += " of one L3 cache" if len(case.caches) == 1 else f" in {len(case.caches)} L3 caches"
    if wish.threads == "own_core":
        said += ", one on each"
    elif whole and whole < count:
        said += f", {whole} of them whole"
    return said + ", for this VM alone" * wish.exclusive


def _nodes(case: _Case) -> Iterator[str]:
    most = max(case.offered.values(), default=0)
    if len(case.nodes) > 1 and most < case.wish.vcpus:
        yield f"{nodes_of(case.nodes)}: no node has room for more than {most} of the vCPUs"


def _overcommit(case: _Case) -> Iterator[str]:
    for numbers, names in _alike((cpu, case.on(frozenset({cpu}), helpers=True)) for cpu in sorted(case.chosen)):
        yield f"shares {cpus_of(numbers)} with {names} (overcommit)"


def _cores(case: _Case) -> Iterator[str]:
    """Cores on which others are: on threads that were not chosen."""
    left = {core: threads - case.chosen for core, threads in case.cores.items()}
    for cores, names in _alike((core, case.on(threads)) for core, threads in left.items()):
        ours = frozenset().union(*(case.cores[core] & case.chosen for core in cores))
        yield f"{cpus_of(ours)} {verb(ours, 'is', 'are')} on {'a core' if len(cores) == 1 else 'cores'} with {names}"


def _neighbours(case: _Case) -> Iterator[str]:
    shared = case.placement.cost.neighbours
    if shared:
        cpus = case.topology.cpus.values()
        names = listed(case.on(frozenset(cpu.number for cpu in cpus if cpu.cache in case.caches)))
        which = "its L3 cache" if len(case.caches) == 1 else f"{shared} of its {len(case.caches)} L3 caches"
        yield f"{which} {'has' if shared == 1 else 'have'} other VMs, too: {names}"


def _alike(found: Iterable[tuple[int, list[str]]]) -> list[tuple[CpuSet, str]]:
    """Numbers with the same VMs, and those in words."""
    alike: dict[tuple[str, ...], set[int]] = {}
    for number, names in found:
        if names:
            alike.setdefault(tuple(names), set()).add(number)
    return [(frozenset(numbers), listed(names)) for names, numbers in alike.items()]


def _memory(case: _Case) -> Iterator[str]:
    memory, wish, remote = case.placement.memory, case.wish, case.placement.cost.remote_memory
    if not wish.memory or (len(case.topology.nodes) < 2 and not remote):
        return
    pages = f" in pages of {size(wish.page_size)}" if wish.page_size else ""
    said = f"memory: {listed([f'{size(memory[node])} on node {node}' for node in sorted(memory)])}{pages}"
    if not remote:
        yield f"{said}, all local"
        return
    away = frozenset(node for node in memory if node not in case.nodes)
    beyond = remote - sum(memory[node] for node in away)
    if away:
        said += (
            f"; no vCPU is on {nodes_of(away)}, but {nodes_of(case.nodes)} {verb(case.nodes, 'has', 'have')} no more"
        )
    yield said + f"; {size(beyond)} more than there is (overcommit)" * (beyond > 0)


def _helpers(case: _Case) -> Iterator[str]:
    wish, helpers = case.wish, case.placement.helpers
    if not wish.helpers:
        return
    said = f"{'emulator' if wish.helpers == 1 else 'emulator and iothreads'} on {show_cpus(helpers)}"
    cost = case.placement.cost.helpers
    if cost == 0:
        yield f"{said}, off the vCPUs' cores"
    elif cost == wish.helpers:
        there = frozenset(case.topology.cpus[number].node for number in helpers)
        full = f"{nodes_of(case.nodes)} {verb(case.nodes, 'has', 'have')} no core left"
        yield f"{said} of {nodes_of(there)}: {full} for {'it' if wish.helpers == 1 else 'them'}"
    else:
        yield f"{said}, the vCPUs' own CPUs: no other core is left"


def _certificate(case: _Case) -> str:
    certificate, words = case.placement.certificate, figures(case.placement.certificate.bound, case.wish)
    if certificate.bound != case.placement.cost:
        return f"a better placement may exist: lower bound {words}"
    count = len(certificate.cases)
    looked = f"all sets of nodes looked at, in {count} cases" if count > 1 else "there is one set of nodes"
    return f"no placement is better: {looked}; lower bound = cost = {words}"
