"""The `numa:` group: which nodes of the host the memory is on, and the nodes that the guest sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.declare import group, grouped, read, scalar, through, write
from kvmctl.spec.groups import Pairs
from kvmctl.spec.kinds import NODES, SIZE, VCPUS, CpuSet, choice, integer, show_cpus
from kvmctl.spec.lenses import Scalar, SizeAt, find, prune, require

MODE = choice("strict", "preferred", "interleave", "restrictive")
CELL = integer(0, 255)
LOCAL = 10
"""The distance of a cell to itself, which libvirt writes down too."""


class _Distances(Pairs):
    """<distances>, without the one of the cell to itself."""

    def _pair(self, node: Element) -> tuple[Any, Any] | None:
        pair = super()._pair(node)
        return None if pair is None or pair[1] == LOCAL else pair

    def put(self, element: Element, value: Mapping[Any, Any] | None) -> None:
        parent = require(element, self.parents)
        for node in parent.findall(self.tag):
            if node.get("value") == str(LOCAL) and node.get("id", "") in map(str, value or ()):
                parent.remove(node)
        super().put(element, value)


@group
class Cell:
    """A NUMA node of the guest; its number is its place in the list, from 0."""

    cpus: CpuSet | None = scalar("@cpus", VCPUS, "vCPUs of the cell; none if left out.")
    memory: int | None = through(SizeAt("@memory"), SIZE, "Memory of the cell.", example="2GiB")
    nodes: CpuSet | None = scalar("memnode/@nodeset", NODES, "Nodes of the host that this memory is on.")
    mode: str | None = scalar("memnode/@mode", MODE, "How firmly; as numa.mode says if left out.")
    distances: Mapping[int, int] | None = through(
        _Distances("distances/sibling", "id", CELL, "value", integer(LOCAL + 1, 254)),
        integer(LOCAL + 1, 254),
        "Distance to other cells by their numbers; 10 is local, 20 what is taken if left out.",
        key_kind=CELL,
    )

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not self.memory:
            yield "", "memory is missing", "write memory: 2GiB"
        elif self.memory % 1024:
            yield "memory", "memory comes in whole KiB", "write a multiple of 1KiB"
        if self.mode and not self.nodes:
            yield "mode", "mode is given without nodes", "write nodes: too, the nodes of the host"


class _Cells:
    """<cpu><numa><cell>, and the <memnode> of each, which libvirt keeps under <numatune>: it is lent to the cell while
    that is read or written. Understood if the cells are numbered as they stand."""

    @staticmethod
    def _cells(element: Element) -> list[Element]:
        return element.findall("cpu/numa/cell")

    @staticmethod
    def _nodes(element: Element, number: int) -> list[Element]:
        return element.findall(f"numatune/memnode[@cellid='{number}']")

    def get(self, element: Element) -> tuple[Any, ...]:
        cells = self._cells(element)
        if [cell.get("id") for cell in cells] != [str(number) for number in range(len(cells))]:
            return ()
        found = []
        for number, cell in enumerate(cells):
            joined = Element("cell", cell.attrib)
            joined.extend([*(child for child in cell if child.tag != "memnode"), *self._nodes(element, number)[:1]])
            found.append(read(Cell, joined))
        return tuple(found)

    def put(self, element: Element, value: tuple[Any, ...]) -> None:
        numa = require(element, ("cpu", "numa"))
        cells = self._cells(element)
        for surplus in cells[len(value) :]:
            numa.remove(surplus)
        for number in range(len(value), len(cells)):
            for node in self._nodes(element, number):
                require(element, ("numatune",)).remove(node)
        for number, item in enumerate(value):
            cell = cells[number] if number < len(cells) else SubElement(numa, "cell")
            cell.set("id", str(number))
            self._put(element, cell, number, item)
        prune(element, ("cpu", "numa"))
        prune(element, ("numatune",))

    def _put(self, element: Element, cell: Element, number: int, value: Any) -> None:
        tune = require(element, ("numatune",))
        for node in self._nodes(element, number)[:1]:
            tune.remove(node)
            del node.attrib["cellid"]
            cell.append(node)
        write(value, cell)
        for node in cell.findall("memnode"):
            cell.remove(node)
            node.set("cellid", str(number))
            tune.append(node)


_MEMORY = ("numatune", "memory")


class _Mode(Scalar):
    """The mode, where nodes are named: numad, which may name them as well, is not ours."""

    def get(self, element: Element) -> Any:
        return super().get(element) if _NODES.get(element) else None


class _Nodes(Scalar):
    """The nodes, named instead of left to numad."""

    def put(self, element: Element, value: Any) -> None:
        node = find(element, _MEMORY)
        if node is not None:
            node.attrib.pop("placement", None)
        super().put(element, value)


_NODES = _Nodes("numatune/memory/@nodeset", NODES)


@group
class Numa:
    """Memory by NUMA nodes. Left out, it is wherever the kernel puts it, and the guest sees a single node."""

    mode: str | None = through(
        _Mode("numatune/memory/@mode", MODE),
        MODE,
        "How firmly memory is held to the nodes: strict (nowhere else, or the VM does not start), preferred, "
        "interleave (evenly over all), or restrictive (where the kernel puts it within them); strict if left out.",
    )
    nodes: CpuSet | None = through(_NODES, NODES, "Nodes of the host that the memory is on.", example='"0-1"')
    cells: tuple[Cell, ...] = grouped(
        _Cells(), Cell, "NUMA nodes that the guest sees; together they have all its vCPUs and memory.", many=True
    )

    def check(self) -> Iterator[tuple[str, str, str]]:
        seen: dict[int, int] = {}
        for number, cell in enumerate(self.cells):
            twice = frozenset(seen) & (cell.cpus or frozenset())
            if twice:
                other = seen[min(twice)]
                yield (
                    f"cells[{number}].cpus",
                    f"vCPU {show_cpus(twice)} is in cell {other} already",
                    "each vCPU is in one cell",
                )
            seen.update(dict.fromkeys(cell.cpus or (), number))
            for other in cell.distances or ():
                if other == number:
                    yield f"cells[{number}].distances.{other}", "the distance of a cell to itself is 10", "leave it out"
                elif other >= len(self.cells):
                    highest = len(self.cells) - 1
                    yield (
                        f"cells[{number}].distances.{other}",
                        f"there is no cell {other}; the highest is {highest}",
                        "cells count from 0",
                    )
            if self.nodes and self.mode == "restrictive" and cell.nodes and cell.mode not in (None, "restrictive"):
                yield (
                    f"cells[{number}].mode",
                    f"numa.mode is restrictive, so that no cell can be {cell.mode}",
                    "leave one of the two out",
                )
