"""Draws what is around the cores: a node's memory and distances, devices, and at the end who has no place. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.check_facts import size
from kvmctl.plan.placement.finding import nodes as nodes_of
from kvmctl.plan.placement.occupants import EMULATOR, IOTHREAD, loose
from kvmctl.plan.placement.scene import AMONG, CONFLICT, IDLE, ISOLATED, KEPT, LATER, PLANNED
from kvmctl.plan.placement.text import VM_STYLES, Line, Span, count, filled, numbers
from kvmctl.plan.topology import LOCAL

if TYPE_CHECKING:
    from kvmctl.plan.placement.conflicts import Conflict
    from kvmctl.plan.placement.scene import Scene
    from kvmctl.plan.topology import Device, NumaNode, Topology

INDENT = "    "
MANY = 12
"""So many conflicts are told in words; more are counted."""


def node_lines(topology: Topology, node: NumaNode, name: str, width: int) -> Iterator[Line]:
    """A node's CPUs and memory, and how far the others are."""
    cpus = frozenset(number for number in topology.online if topology.cpus[number].node == node.number)
    said = [f"CPU{'s' * (len(cpus) > 1)} {numbers(cpus)}" if cpus else "no CPUs"]
    said.append(f"{size(node.free)} of {size(node.memory)} free" if node.memory else "no memory")
    for page, pool in node.pages.items():
        if pool.total:
            said.append(f"{pool.free} of {pool.total} pages of {size(page)} free")
    by_distance: dict[int, set[int]] = {}
    for other, distance in node.distances.items():
        if other != node.number and other in topology.nodes and distance > LOCAL:
            by_distance.setdefault(distance, set()).add(other)
    far = [f"{distance} to {nodes_of(frozenset(others))}" for distance, others in sorted(by_distance.items())]
    words = [f"{text};" for text in said[: len(said) if far else -1]] + ([] if far else said[-1:])
    words += [f"{'and' if number else 'distance'} {text}" for number, text in enumerate(far)]
    yield from filled((Span(name, "heading"), Span("  ")), ((Span(word),) for word in words), width)


def device_lines(devices: Iterable[Device], width: int) -> Iterator[Line]:
    """A line for each device; the virtual functions of one kind together in one."""
    devices = list(devices)
    virtual: dict[tuple[str, str], list[Device]] = {}
    for device in devices:
        if device.virtual:
            virtual.setdefault((device.what, device.product), []).append(device)
    rows = [
        (device.address, device.what, " ".join((*device.interfaces, device.product)))
        for device in devices
        if not device.virtual
    ]
    for (what, product), several in virtual.items():
        rows.append((several[0].address, what, f"and {len(several) - 1} more: {product}" if several[1:] else product))
    kinds = max((len(what) for _, what, _ in rows), default=0)
    for address, what, rest in sorted(rows):
        text = f"{INDENT}{address}  {what.ljust(kinds)}  {rest}"
        yield (Span(text[:width].rstrip(), "dim"),)


def conflict_lines(conflicts: Sequence[Conflict], width: int) -> Iterator[Line]:
    """What the marks are about."""
    for conflict in conflicts[:MANY]:
        mark = Span(f"{CONFLICT} ", "conflict") if conflict.now else Span(f"{LATER} ", "doubt")
        yield from filled((mark,), ((Span(word),) for word in conflict.what.split()), width)
    if len(conflicts) > MANY:
        yield (Span(f"{CONFLICT} ", "conflict"), Span(f"and {len(conflicts) - MANY} more"))


def lists(scene: Scene, width: int) -> Iterator[Line]:
    """VMs that are bound to nothing, that are alone, that are pooled; CPUs that are offline."""
    tenants, topology = scene.tenants, scene.topology
    floating = []
    for tenant in tenants:
        vcpus = frozenset() if tenant.pooled or not tenant.running else loose(topology, tenant)
        if vcpus:
            some = len(vcpus) < tenant.count
            floating.append((tenant, f":{numbers(vcpus)}" if some else f" ({count(len(vcpus), 'vCPU')})"))
    pooled = [(tenant, f" ({count(tenant.count, 'vCPU')})") for tenant in tenants if tenant.pooled and tenant.running]
    exclusive = [tenant for tenant in tenants if tenant.exclusive and tenant.pinned]
    alone = [(tenant, " (whole cores)" * tenant.whole_cores) for tenant in exclusive]
    for title, found in (("exclusive", alone), ("in the pool", pooled), ("floating", floating)):
        if found:
            yield from _listed(title, ((scene.name(tenant), Span(more)) for tenant, more in found), width)
    offline = frozenset(topology.cpus) - topology.online
    if offline:
        yield from _listed("offline", [(Span(numbers(offline)),)], width)


def _listed(title: str, words: Iterable[Line], width: int) -> list[Line]:
    *before, last = words
    return filled((Span(f"{title}:", "heading"), Span(" ")), [*((*word, Span(",")) for word in before), last], width)


def legend(scene: Scene, lines: Iterable[Line], width: int) -> Iterator[Line]:
    """What the marks mean that are in these lines."""
    spans = [span for line in lines for span in line]
    there = {span.text for span in spans}
    kinds = {occupant.kind for occupant in scene.occupants}
    said = (
        (IDLE, "idle", IDLE in there),
        (AMONG, "for those that have several CPUs", bool(scene.several)),
        (KEPT, "free for an exclusive VM", KEPT in there),
        (ISOLATED, "isolated", any(map(scene.is_isolated, scene.topology.cpus))),
        ("emu", "emulator", EMULATOR in kinds),
        ("io1", "iothread 1", IOTHREAD in kinds),
        ("(web1:0)", "stopped", any(span.text.startswith("(") and span.style in VM_STYLES for span in spans)),
        (PLANNED, "planned", scene.planned is not None),
        (CONFLICT, "conflict", not there.isdisjoint((f" {CONFLICT}", f"{CONFLICT} "))),
        (LATER, "conflict once a VM starts", not there.isdisjoint((f" {LATER}", f"{LATER} "))),
    )
    words = [(Span(f"{mark} {meaning}  ", "dim"),) for mark, meaning, is_there in said if is_there]
    return iter(filled((), words, width)) if words else iter(())
