"""Reads a host's processors and memory out of libvirt's capabilities. Pure: asks nobody.

Cores and L3 groups are named after the lowest CPU in them: libvirt's own numbers repeat in each socket and die.
libvirt leaves out CPUs that are offline, or tells them without their place; where NUMA is unknown it makes up one node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from kvmctl.plan.topology import NOWHERE, HostCpu, NumaNode, PagePool, Topology
from kvmctl.spec.kinds import parse_cpus

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KIB = 1024
L3 = "3"
NO_CLUSTER = 65535
"""What libvirt tells for a CPU that is in no cluster."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What capabilities do not tell; whatever nobody knows is left out.

    `online` has one truth for each CPU that is plugged in, by number. `homes` are the nodes of CPUs that capabilities
    leave out.
    """

    online: Sequence[bool] = ()
    isolated: frozenset[int] | None = None
    free: Mapping[int, int] = field(default_factory=dict)
    free_pages: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    homes: Mapping[int, int] = field(default_factory=dict)


def node_numbers(capabilities: Element) -> list[int]:
    return [_number(cell, "id") for cell in _cells(capabilities)]


def page_sizes(capabilities: Element) -> list[int]:
    """The sizes of huge pages that any node has."""
    return sorted({size for cell in _cells(capabilities) for size in _pages(cell)})


def topology_of(capabilities: Element, asked: Asked) -> Topology:
    """Processors and memory of the host."""
    told = {
        _number(cpu, "id"): (_number(cell, "id"), cpu)
        for cell in _cells(capabilities)
        for cpu in cell.findall("cpus/cpu")
    }
    caches = _caches(capabilities, told)
    # A map that ends before the last CPU is not about these CPUs; libvirt's test driver has such a one.
    online = asked.online if len(asked.online) > max(told, default=0) else ()
    cpus = {}
    for number, (node, cpu) in sorted(told.items()):
        is_online = online[number] if online else cpu.get("siblings") is not None
        cpus[number] = HostCpu(
            number=number,
            node=node,
            core=min(_siblings(cpu, number)),
            cache=caches[number],
            socket=_number(cpu, "socket_id"),
            die=_number(cpu, "die_id"),
            cluster=_cluster(cpu),
            online=is_online,
            isolated=None if asked.isolated is None else number in asked.isolated,
        )
    nodes = {_number(cell, "id"): _node(cell, asked) for cell in _cells(capabilities)}
    only = next(iter(nodes)) if len(nodes) == 1 else NOWHERE
    for number, is_online in enumerate(online):
        # One that is online and in no cell came this very moment; the next look will find it.
        if number not in cpus and not is_online:
            home = asked.homes.get(number, only)
            cpus[number] = HostCpu(number=number, node=home, core=number, cache=number, online=False)
    return Topology(cpus=dict(sorted(cpus.items())), nodes=dict(sorted(nodes.items())))


def _cells(capabilities: Element) -> list[Element]:
    return capabilities.findall("host/topology/cells/cell")


def _number(element: Element, name: str) -> int:
    """A number of an element; 0 where there is none, or none that can be used, as libvirt has it for sockets."""
    with suppress(ValueError):
        return max(0, int(element.get(name, "0")))
    return 0


def _cluster(cpu: Element) -> int:
    cluster = _number(cpu, "cluster_id")
    return 0 if cluster == NO_CLUSTER else cluster


def _siblings(cpu: Element, number: int) -> frozenset[int]:
    return _cpus(cpu.get("siblings")) | {number}


@lru_cache(maxsize=1024)  # each thread tells its siblings, and each CPU may tell its cache
def _cpus(text: str | None) -> frozenset[int]:
    with suppress(ValueError):
        return parse_cpus(text or "")
    return frozenset()


def _caches(capabilities: Element, told: Mapping[int, tuple[int, Element]]) -> dict[int, int]:
    """The lowest CPU of the L3 group of each CPU.

    libvirt may tell a bank once for each CPU in it, so banks are known by their CPUs. CPUs without a bank, as on hosts
    that tell no caches and as small cores have it, share one in each die of a node.
    """
    groups: dict[int, int] = {}
    for bank in capabilities.findall("host/cache/bank"):
        if bank.get("level") == L3:
            _group(groups, _cpus(bank.get("cpus")) & told.keys())
    places: dict[tuple[int, int, int], list[int]] = {}
    for number, (node, cpu) in told.items():
        if number not in groups:
            places.setdefault((node, _number(cpu, "socket_id"), _number(cpu, "die_id")), []).append(number)
    for members in places.values():
        _group(groups, members)
    return groups


def _group(groups: dict[int, int], members: Iterable[int]) -> None:
    members = [number for number in members if number not in groups]
    groups.update(dict.fromkeys(members, min(members, default=0)))


def _node(cell: Element, asked: Asked) -> NumaNode:
    number = _number(cell, "id")
    free_pages = asked.free_pages.get(number, {})
    memory = int(cell.findtext("memory") or 0) * KIB
    return NumaNode(
        number=number,
        memory=memory,
        free=min(memory, asked.free.get(number, 0)),
        pages={size: PagePool(total=total, free=free_pages.get(size, 0)) for size, total in _pages(cell).items()},
        distances={_number(sibling, "id"): _number(sibling, "value") for sibling in cell.findall("distances/sibling")},
    )


def _pages(cell: Element) -> dict[int, int]:
    """How many huge pages of each size the node has; the smallest size is that of ordinary pages."""
    sizes = {_number(pages, "size") * KIB: int(pages.text or 0) for pages in cell.findall("pages")}
    return {size: total for size, total in sorted(sizes.items()) if size != min(sizes)}
