"""Draws cores side by side, as many as fit: every thread with its number and who has it alone. Pure.

On a large host, idle cores are not drawn one by one, but named in a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.placement.occupants import by_vm
from kvmctl.plan.placement.scene import IDLE, ROOM
from kvmctl.plan.placement.text import Line, Span, count, filled, length, numbers, padded, shortened

if TYPE_CHECKING:
    from kvmctl.plan.placement.scene import Scene

SMALL = 16
"""Up to so many cores, a host is drawn core by core."""
GAP = "  "
BETWEEN = "  |  "


def folded(scene: Scene, cores: Sequence[int], width: int) -> tuple[list[int], list[Line]]:
    """The cores to draw, and lines for those that are idle. What has several CPUs is named with them anyway."""
    if len(scene.topology.cores) <= SMALL:
        return list(cores), []
    idle: dict[bool, list[int]] = {}
    drawn = []
    for core in cores:
        cpus = scene.topology.cores[core]
        looks = {(scene.emptiness(cpu), scene.is_isolated(cpu)) for cpu in cpus}
        if len(looks) > 1 or not scene.alone.keys().isdisjoint(cpus):
            drawn.append(core)
        elif (IDLE, isolated := scene.is_isolated(cpus[0])) in looks:
            idle.setdefault(isolated, []).append(core)
    return drawn, [line for each in idle.items() for line in _idle(scene, *each, width)]


def _idle(scene: Scene, isolated: bool, cores: Sequence[int], width: int) -> list[Line]:
    cpus = [cpu for core in cores for cpu in scene.topology.cores[core]]
    words = ((Span(numbers(cpus)),), (Span(f"({count(len(cores), 'core')})", "dim"),))
    return filled((Span(f"idle{', isolated' * isolated}: ", "idle"),), words, width)


def widest(scene: Scene, cores: Iterable[int]) -> int:
    """The width of the widest cell of these cores: columns of the same node are to stand below each other."""
    return max((length(_cell(scene, cpu)) for core in cores for cpu in scene.topology.cores[core]), default=0)


def grid(scene: Scene, cores: Sequence[int], room: int, width: int) -> Iterator[Line]:
    """The cores in columns, read downwards; those with the same number of threads stand together."""
    known = scene.topology.cores
    for threads in sorted({len(known[core]) for core in cores}, reverse=True):
        same = [known[core] for core in cores if len(known[core]) == threads]
        yield from _columns(scene, same, threads, room, width)


def _columns(scene: Scene, cores: Sequence[Sequence[int]], threads: int, room: int, width: int) -> Iterator[Line]:
    digits = scene.digits
    each = digits + 1 + room

    def line(cpus: Sequence[int]) -> Line:
        cells = [padded((Span(scene.number(cpu).rjust(digits) + " ", "dim"), *_cell(scene, cpu)), each) for cpu in cpus]
        return _joined(cells, GAP)

    fitting = max(1, min(threads, (width + len(GAP)) // (each + len(GAP))))
    if fitting < threads:  # not even one core fits in a line
        for core in cores:
            for start in range(0, threads, fitting):
                yield line(core[start : start + fitting])
        return
    between = BETWEEN if threads > 1 else GAP
    core_width = threads * (each + len(GAP)) - len(GAP)
    columns = max(1, (width + len(between)) // (core_width + len(between)))
    rows = -(-len(cores) // columns)
    for row in range(rows):
        yield _joined([line(core) for core in cores[row::rows]], between)


def _cell(scene: Scene, cpu: int) -> Line:
    """Who has this CPU alone, and whether that is a conflict."""
    found = by_vm(scene.alone.get(cpu, ()))
    mark = scene.mark((cpu,))
    if not found:
        look = scene.emptiness(cpu)
        return Span(look, "idle" if look == IDLE else "dim"), *mark
    if cpu in scene.crowded:
        return Span(count(len(found), "VM"), "dim"), *mark
    names = [scene.name(*each) for each in found]
    room = scene.room if len(names) == 1 else ROOM
    return *_joined([(Span(shortened(name.text, room), name.style),) for name in names], " "), *mark


def _joined(parts: Sequence[Line], between: str) -> Line:
    return tuple(span for part in parts for span in (Span(between, "dim"), *part))[1:]
