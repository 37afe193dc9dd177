"""A host for people: sockets, NUMA nodes, L3 groups, cores with their threads, devices, and who is where. Pure.

Lines of text with the names of styles; readable without any, and as wide as asked for. A plan is drawn as a VM among
the others, and then only the nodes it goes to are drawn in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kvmctl.plan.placement import grid, surroundings
from kvmctl.plan.placement.occupants import by_vm
from kvmctl.plan.placement.scene import AMONG, Group, Scene
from kvmctl.plan.placement.surroundings import INDENT
from kvmctl.plan.placement.text import Line, Span, count, filled, length, numbers, stripped

if TYPE_CHECKING:
    from kvmctl.plan.topology import NumaNode, Tenant, Topology
    from kvmctl.spec.kinds import CpuSet


def picture(
    topology: Topology, tenants: Sequence[Tenant], *, name: str = "", width: int = 80, planned: Tenant | None = None
) -> list[Line]:
    """The lines of the picture. `name` is the host's."""
    if planned is not None:
        tenants = [*(tenant for tenant in tenants if tenant.vm != planned.vm), planned]
    scene = Scene(topology=topology, tenants=tenants, planned=planned, width=width)
    return [stripped(line) for line in _Picture(scene=scene, name=name).lines()]


@dataclass(frozen=True, kw_only=True)
class _Picture:
    scene: Scene
    name: str

    @cached_property
    def groups(self) -> dict[int, list[Group]]:
        """The groups to be drawn, by node."""
        return {
            node: [group for group in self.scene.groups if group.node == node]
            for node in self.scene.topology.nodes
            if self.scene.planned is None or self._is_planned_on(node)
        }

    @cached_property
    def sockets(self) -> CpuSet:
        return frozenset(group.socket for group in self.scene.groups)

    @cached_property
    def homes(self) -> dict[int, CpuSet]:
        """The sockets of each node with CPUs."""
        nodes = {group.node for group in self.scene.groups}
        return {
            node: frozenset(group.socket for group in self.scene.groups if group.node == node) for node in sorted(nodes)
        }

    def _is_planned_on(self, node: int) -> bool:
        assert self.scene.planned is not None
        known, planned = self.scene.topology.cpus, self.scene.planned
        return any(
            known[cpu].node == node
            for occupant in self.scene.occupants
            if occupant.tenant is planned
            for cpu in occupant.cpus
        )

    def lines(self) -> Iterator[Line]:
        drawn = [*self._hardware()]
        yield from drawn
        scene, plan, width = self.scene, self.scene.planned, self.scene.width
        elsewhere = [*self._elsewhere()]
        conflicts = [found for found in scene.conflicts if plan is None or plan.vm in found.vms]
        words = [*surroundings.conflict_lines(conflicts, width)]
        lists = [*surroundings.lists(scene, width)] if plan is None else []
        for part in (elsewhere, lists, words, [*surroundings.legend(scene, [*drawn, *elsewhere, *words], width)]):
            yield from [(), *part] if part else ()

    def _hardware(self) -> Iterator[Line]:
        yield from self._title()
        before: CpuSet = frozenset()
        for node in self.scene.topology.nodes.values():
            yield ()
            sockets = self.homes.get(node.number, frozenset())
            name = f"node {node.number}"
            if len(self.sockets) > 1 and sockets:
                title = f"{'socket' if len(sockets) == 1 else 'sockets'} {numbers(sockets)}"
                if [*self.homes.values()].count(sockets) == 1:
                    name = f"{title}, {name}"
                elif sockets != before:
                    yield (Span(title, "heading"),)
                before = sockets
            yield from self._node(node, name)

    def _title(self) -> list[Line]:
        host, idle = self.scene.topology, self.scene.idle
        isolated = sum(map(self.scene.is_isolated, host.cpus))
        caches = {host.cpus[cpu].cache for cpu in host.online}
        things = ((len(self.sockets), "socket"), (len(host.nodes), "NUMA node"), (len(caches), "L3 cache"))
        said = [count(*each) for each in (*things, (len(host.cores), "core"), (len(host.online), "CPU"))]
        states = f"({len(idle)} idle{f', {isolated} isolated' * bool(isolated)})"
        name = (Span(self.name, "title"), Span(": ")) if self.name else ()
        return filled(
            name, [*((Span(f"{each},"),) for each in said[:-1]), (Span(f"{said[-1]} {states}"),)], self.scene.width
        )

    def _node(self, node: NumaNode, name: str) -> Iterator[Line]:
        topology = self.scene.topology
        yield from surroundings.node_lines(topology, node, name, self.scene.width)
        groups = self.groups.get(node.number)
        if groups is None:
            return
        parts = [(group, *grid.folded(self.scene, group.cores, self.scene.width - len(INDENT))) for group in groups]
        room = grid.widest(self.scene, (core for _, drawn, _ in parts for core in drawn))
        for group, drawn, others in parts:
            idle = not drawn and group.cpus <= self.scene.idle
            if len(groups) > 1:
                yield from self._heading(group, idle=idle)
            if idle and len(groups) > 1:
                continue
            for line in (*grid.grid(self.scene, drawn, room, self.scene.width - len(INDENT)), *others):
                yield (Span(INDENT), *line)
            yield from self._sets(self._within_groups([group]))
        if len(groups) > 1:
            yield from self._sets(self._within(node.number) - self._within_groups(groups))
        devices = (device for device in topology.devices if device.node == node.number)
        yield from surroundings.device_lines(devices, self.scene.width)

    def _within(self, node: int) -> set[CpuSet]:
        """CPUs that have a line of their own, and are of this node."""
        known = self.scene.topology.cpus
        return {cpus for cpus in self.scene.listed if {known[cpu].node for cpu in cpus} == {node}}

    def _within_groups(self, groups: Iterable[Group]) -> set[CpuSet]:
        return {cpus for group in groups for cpus in self.scene.listed if cpus <= group.cpus}

    def _heading(self, group: Group, *, idle: bool) -> list[Line]:
        dies = {each.die for each in self.scene.groups if each.socket == group.socket}
        die = f"die {group.die}, " if len(dies) > 1 else ""
        said = f"({count(len(group.cores), 'core')}{', idle' * idle})"
        words = (Span(numbers(group.cpus), "heading"),), (Span(said, "idle" if idle else "dim"),)
        return filled((Span(f"  {die}L3 ", "heading"),), words, self.scene.width)

    def _sets(self, sets: Iterable[CpuSet]) -> Iterator[Line]:
        """Who is bound to several CPUs, and who found no room at his own."""
        for cpus in sorted(sets, key=sorted):
            names = self.scene.names(by_vm(self.scene.listed[cpus]))
            begin = Span(f"{INDENT}{AMONG if len(cpus) > 1 else ' '} ", "dim")
            title = (Span(numbers(cpus), "dim"), *self.scene.mark(cpus), Span(":"))
            if length(title) < self.scene.width // 3:
                yield from filled((begin, *title, Span(" ")), names, self.scene.width)
            else:
                yield from filled((begin,), (title, *names), self.scene.width)

    def _elsewhere(self) -> Iterator[Line]:
        """What belongs to no single node."""
        within = {cpus for node in self.scene.topology.nodes for cpus in self._within(node)}
        yield from self._sets(self.scene.listed.keys() - within)
        if self.scene.planned is not None:
            return
        devices = [device for device in self.scene.topology.devices if device.node not in self.scene.topology.nodes]
        if devices:
            yield (Span("devices of no known node", "heading"),)
            yield from surroundings.device_lines(devices, self.scene.width)
