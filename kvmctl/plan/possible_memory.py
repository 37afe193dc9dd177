"""What speaks against a spec's memory, huge pages and NUMA nodes on a host. Pure.

What a host has is held against the spec as an error; what is left of it beside the other VMs, as a note: they may stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kvmctl.plan.hugepages import in_use, ordinary, pages, totals, users
from kvmctl.plan.objection import ERROR, NOTE, Asked, Objection
from kvmctl.plan.placement.finding import nodes, verb
from kvmctl.plan.placement.memory import available
from kvmctl.plan.placement.request import FIRM
from kvmctl.spec.kinds import CpuSet, show_cpus, show_size

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Part:
    """Memory of the guest, all of it or one guest node's: `nodes` is where it must lie, None if it may lie anywhere."""

    path: str
    size: int
    nodes: CpuSet | None
    vcpus: CpuSet


def objections(asked: Asked) -> Iterator[Objection]:
    topology, page = asked.topology, asked.memory.hugepages
    if not topology.nodes:
        return
    parts = list(_parts(asked))
    absent = list(_absent(asked))
    yield from absent
    if page and not totals(topology, page):
        offered = sorted({size for node in topology.nodes.values() for size in node.pages})
        yield Objection(
            level=ERROR,
            path="memory.hugepages",
            message=f"the host has no huge pages of {show_size(page)}; it offers "
            f"{' and '.join(map(show_size, offered)) or 'none'}",
            hint="kvmctl host hugepages shows them",
            code="hugepages-not-offered",
        )
    elif not absent:
        yield from _room(asked, parts)
    yield from _far(asked, parts)
    if asked.cgroups is False and "restrictive" in (asked.numa.mode, *(cell.mode for cell in asked.numa.cells)):
        yield Objection(
            level=NOTE,
            path="numa.mode",
            message="restrictive has no effect without cgroups, which libvirt does not have on this host",
            hint="strict works without",
            code="no-cgroups",
        )


def _parts(asked: Asked) -> Iterator[Part]:
    """The guest's nodes where each says how much memory it has, else all memory as one."""
    numa = asked.numa
    if numa.cells and all(cell.memory for cell in numa.cells):
        for number, cell in enumerate(numa.cells):
            firm = (cell.mode or numa.mode or FIRM[0]) in FIRM
            where = (numa.nodes if cell.nodes is None else cell.nodes) if firm else None
            path = f"numa.cells[{number}].nodes" if cell.nodes is not None else "numa.nodes"
            yield Part(path=path, size=cell.memory or 0, nodes=where, vcpus=cell.cpus or frozenset())
        return
    firm = (numa.mode or FIRM[0]) in FIRM
    yield Part(
        path="numa.nodes",
        size=asked.memory.max or asked.memory.size or 0,
        nodes=numa.nodes if firm else None,
        vcpus=frozenset(range(asked.vcpus)),
    )


def _absent(asked: Asked) -> Iterator[Objection]:
    """NUMA nodes that are not there."""
    there = frozenset(asked.topology.nodes)
    named = {"numa.nodes": asked.numa.nodes}
    named |= {f"numa.cells[{number}].nodes": cell.nodes for number, cell in enumerate(asked.numa.cells)}
    for path, wanted in named.items():
        missing = (wanted or frozenset()) - there
        if missing:
            yield Objection(
                level=ERROR,
                path=path,
                message=f"the host has no NUMA {nodes(missing)}; it has {show_cpus(there)}",
                hint="kvmctl host topology shows its nodes",
                code="no-such-node",
            )


def _room(asked: Asked, parts: list[Part]) -> Iterator[Objection]:
    """Whether what is bound to nodes fits on them, for every set of nodes; and if so, all of it on the host."""
    there = frozenset(asked.topology.nodes)
    bound = dict.fromkeys(part.nodes for part in parts if part.nodes and part.nodes != there)
    found = [objection for where in bound for objection in _fits(asked, parts, where)]
    yield from found or _fits(asked, parts, None)


def _fits(asked: Asked, parts: list[Part], where: CpuSet | None) -> Iterator[Objection]:
    """Whether all that must be on these nodes, or (None) on the host, fits there."""
    topology, page = asked.topology, asked.memory.hugepages
    chosen = frozenset(topology.nodes) if where is None else where
    inside = [part for part in parts if where is None or (part.nodes and part.nodes <= where)]
    size = sum(part.size for part in inside)
    has = {number: count * page for number, count in totals(topology, page).items()} if page else ordinary(topology)
    left = available(topology, asked.others, page)
    limit, now = (sum(room.get(number, 0) for number in chosen) for room in (has, left))
    path = (
        inside[0].path if where else "memory.hugepages" if page else "memory.max" if asked.memory.max else "memory.size"
    )
    if size > limit:
        yield _beyond(asked, path, where, size, limit)
    elif size > now:
        yield Objection(
            level=NOTE,
            path=path,
            message=f"{_amount(size)} are asked for {_on(where)}, where other VMs leave {_amount(now)}",
            hint=_more(asked, where, size) if page else "",
            code="memory-short",
        )


def _beyond(asked: Asked, path: str, where: CpuSet | None, size: int, limit: int) -> Objection:
    """More than there is. Ordinary memory that is not bound may be as much as the host has: the kernel may swap."""
    page = asked.memory.hugepages
    message = f"{_amount(size)} are asked for {_on(where)}, where there are {_amount(limit)}"
    if page:
        message += f" in huge pages of {show_size(page)}"
        return Objection(
            level=ERROR, path=path, message=message, hint=_more(asked, where, size), code="hugepages-missing"
        )
    if where is not None:
        hint = "name more nodes, or write numa: {mode: preferred} to let what does not fit be elsewhere"
        return Objection(level=ERROR, path=path, message=message, hint=hint, code="memory-beyond-node")
    everything = sum(node.memory for node in asked.topology.nodes.values())
    swaps = size <= everything and not asked.memory.locked and not asked.memory.prealloc
    return Objection(
        level=NOTE if swaps else ERROR,
        path=path,
        message=message + " outside of huge pages" * (limit != everything),
        hint="kvmctl host hugepages takes huge pages back" if limit != everything else "",
        code="memory-beyond-host",
    )


def _more(asked: Asked, where: CpuSet | None, size: int) -> str:
    """The command that makes as many huge pages as are in use, wanted by stopped VMs, and missing for this one."""
    page = asked.memory.hugepages or 1
    number = min(where) if where and len(where) == 1 else None
    used = sum(count for node, count in in_use(asked.topology, page).items() if number in (None, node))
    near = () if number is None else (number,)
    waiting = sum(pages(tenant) for tenant in users(asked.others, page, running=False, nodes=near))
    node = "" if number is None else f"--node {number} "
    return f"kvmctl host hugepages --size {show_size(page)} {node}--count {used + waiting + -(-size // page)}"


def _far(asked: Asked, parts: list[Part]) -> Iterator[Objection]:
    """vCPUs that are pinned where none of their memory may be."""
    known = asked.topology.cpus
    for part in parts:
        if not part.nodes:
            continue
        homes = {
            number: frozenset(known[cpu].node for cpu in pin if cpu in known)
            for number, pin in asked.vcpu_pins.items()
            if number in part.vcpus
        }
        away = frozenset(number for number, home in homes.items() if home and not home & part.nodes)
        if away:
            there = frozenset().union(*(homes[number] for number in away))
            yield Objection(
                level=NOTE,
                path=part.path,
                message=f"all memory of vCPU{'s' * (len(away) > 1)} {show_cpus(away)} is far away: it is on "
                f"{nodes(part.nodes)}, and {verb(away, 'that is', 'those are')} pinned to {nodes(there)}",
                hint="pin them to CPUs of the same node: kvmctl host topology shows which those are",
                code="remote-memory",
            )


def _on(where: CpuSet | None) -> str:
    return "on the host" if where is None else f"on {nodes(where)}"


def _amount(size: int) -> str:
    return show_size(size) if size and not size % (1024 * MIB) else f"{size // MIB}MiB"
