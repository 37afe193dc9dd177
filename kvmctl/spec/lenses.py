"""Lenses: where a value lives in an XML element, for reading and for writing at once.

A lens has `get(element)` and `put(element, value)`. It edits in place, finds or creates what lies on its path and never
rebuilds. Two laws hold for each, and are tested on generated and on real documents:

    put(element, value); get(element) == value        what was written is read back
    put(element, get(element)) changes nothing        what was read, written back, leaves the document as it was

`put` therefore does nothing when `get` gives that value already, so that foreign spelling survives, and `get` gives
None for what it does not understand, so that nothing unknown is ever overwritten by accident.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.kinds import LARGEST, XML_UNITS, Kind

Value = TypeVar("Value")
_STEP = re.compile(r"(?:\{[^{}]*\})?[^/{}]+")


class Lens(Protocol):
    """What a field declaration needs to know about XML."""

    def get(self, element: Element) -> Any: ...

    def put(self, element: Element, value: Any) -> None: ...


def find(element: Element, steps: tuple[str, ...]) -> Element | None:
    """The first element at the end of the path, or None."""
    found: Element | None = element
    for step in steps:
        found = None if found is None else found.find(step)
    return found


def require(element: Element, steps: tuple[str, ...]) -> Element:
    """The element at the end of the path; what is missing on the way is made."""
    for step in steps:
        found = element.find(step)
        element = SubElement(element, step) if found is None else found
    return element


def prune(element: Element, steps: tuple[str, ...]) -> None:
    """Take away the element at the end of the path if nothing is left in it, and so on upwards."""
    for depth in range(len(steps), 0, -1):
        parent, child = find(element, steps[: depth - 1]), find(element, steps[:depth])
        if parent is None or child is None or len(child) or child.attrib or (child.text or "").strip():
            return
        parent.remove(child)


def split(path: str) -> tuple[tuple[str, ...], str | None]:
    """`cpu/topology/@cores` as elements and attribute; "." is the element itself. A step may be in a {namespace}."""
    if path == ".":
        return (), None
    *elements, last = _STEP.findall(path)
    if last.startswith("@"):
        return tuple(elements), last[1:]
    return (*elements, last), None


def edit(lens: Lens, element: Element, value: Any) -> None:
    """Put a value unless it is there already: the rule that keeps foreign spelling."""
    if lens.get(element) != value:
        lens.put(element, value)


class Scalar:
    """One value: the text of an element, or an attribute."""

    def __init__(self, path: str, kind: Kind) -> None:
        self.steps, self.attribute = split(path)
        self.kind = kind

    def _raw(self, element: Element) -> str | None:
        node = find(element, self.steps)
        if node is None:
            return None
        return node.get(self.attribute) if self.attribute else node.text

    def get(self, element: Element) -> Any:
        raw = self._raw(element)
        try:
            return None if raw is None else self.kind.load(raw)
        except (ValueError, KeyError):
            return None

    def put(self, element: Element, value: Any) -> None:
        if value is not None:
            node, text = require(element, self.steps), self.kind.dump(value)
            if self.attribute:
                node.set(self.attribute, text)
            else:
                node.text = text
            return
        node_or_none = find(element, self.steps)
        if node_or_none is not None:
            if self.attribute:
                node_or_none.attrib.pop(self.attribute, None)
            else:
                node_or_none.text = None
            prune(element, self.steps)


class SizeAt:
    """Bytes: a number (text or attribute) with a `unit` attribute, which libvirt takes as KiB where it is missing."""

    def __init__(self, path: str) -> None:
        self.steps, self.attribute = split(path)

    def get(self, element: Element) -> int | None:
        node = find(element, self.steps)
        if node is None:
            return None
        number = node.get(self.attribute) if self.attribute else node.text
        try:
            size = int(number or "") * XML_UNITS[node.get("unit", "KiB")]
        except (ValueError, KeyError):
            return None
        return size if 0 < size < LARGEST else None

    def put(self, element: Element, value: int | None) -> None:
        number = unit = None
        if value is not None:
            unit = "b" if value % 1024 else "KiB"  # as libvirt itself writes it
            number = str(value // XML_UNITS[unit])
            require(element, self.steps).set("unit", unit)
        node = find(element, self.steps)
        if node is None:
            return
        if self.attribute and number:
            node.set(self.attribute, number)
        elif self.attribute:
            node.attrib.pop(self.attribute, None)
        else:
            node.text = number
        if unit is None:
            node.attrib.pop("unit", None)
            prune(element, self.steps)


class Flag:
    """An element whose presence means true: <acpi/>. False and absent are written alike."""

    def __init__(self, path: str) -> None:
        self.steps, _ = split(path)

    def get(self, element: Element) -> bool | None:
        return True if find(element, self.steps) is not None else None

    def put(self, element: Element, value: bool | None) -> None:
        if value:
            require(element, self.steps)
            return
        node = find(element, self.steps)
        if node is not None:
            parent = find(element, self.steps[:-1])
            assert parent is not None
            parent.remove(node)
            prune(element, self.steps[:-1])


class Case:
    """One branch of a union: `inner` counts only while the attribute `discriminator` has one of the `values`.

    Writing a value switches the discriminator to the first of them, and takes away what `clear` names, the
    payload of the branch that was there before.
    """

    def __init__(self, discriminator: str, values: tuple[str, ...], inner: Lens, *, clear: str = "source") -> None:
        self.discriminator = discriminator
        self.values = values
        self.inner = inner
        self.clear = clear

    def get(self, element: Element) -> Any:
        return self.inner.get(element) if element.get(self.discriminator) in self.values else None

    def put(self, element: Element, value: Any) -> None:
        chosen = element.get(self.discriminator) in self.values
        if value is None:
            if chosen:
                self.inner.put(element, None)
            return
        if not chosen:
            for old in element.findall(self.clear):
                element.remove(old)
            element.set(self.discriminator, self.values[0])
        self.inner.put(element, value)


class Marked:
    """A value below the one among several like elements that has certain attributes:
    <feature name='secure-boot' enabled='yes'/>."""

    def __init__(self, path: str, marks: Mapping[str, str], inner: Lens) -> None:
        self.steps, _ = split(path)
        self.marks = marks
        self.inner = inner

    def _find(self, element: Element) -> Element | None:
        parent = find(element, self.steps[:-1])
        nodes = [] if parent is None else parent.findall(self.steps[-1])
        return next((n for n in nodes if all(n.get(name) == text for name, text in self.marks.items())), None)

    def get(self, element: Element) -> Any:
        node = self._find(element)
        return None if node is None else self.inner.get(node)

    def put(self, element: Element, value: Any) -> None:
        node = self._find(element)
        if value is not None:
            if node is None:
                node = SubElement(require(element, self.steps[:-1]), self.steps[-1], dict(self.marks))
            self.inner.put(node, value)
        elif node is not None:
            self.inner.put(node, None)
            if node.attrib == dict(self.marks) and not len(node) and not (node.text or "").strip():
                require(element, self.steps[:-1]).remove(node)
                prune(element, self.steps[:-1])


class Always:
    """The inner part of a Case that has no payload: being chosen is the whole value, true."""

    def get(self, element: Element) -> bool | None:
        return True

    def put(self, element: Element, value: bool | None) -> None:
        return None


class Nowhere:
    """A field that the domain XML has no place for: it is used up by `plan/resolve.py`, or kept elsewhere."""

    def get(self, element: Element) -> None:
        return None

    def put(self, element: Element, value: Any) -> None:
        return None


class Around:
    """A field of a list's items that the lens of the whole list reads and writes: it is not in the item's element."""

    def get(self, element: Element) -> None:
        return None

    def put(self, element: Element, value: Any) -> None:
        return None
