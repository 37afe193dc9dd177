"""Lenses over more than one value: lists of scalars, mappings, groups of fields, lists of groups.

The laws are those of `lenses`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.lenses import find, prune, require, split

if TYPE_CHECKING:
    from kvmctl.spec.kinds import Kind


class Values:
    """A list of scalars, one element each: <boot dev='hd'/>, in order. All or none are understood."""

    def __init__(self, path: str, kind: Kind) -> None:
        steps, attribute = split(path)
        self.parents, self.tag, self.attribute, self.kind = steps[:-1], steps[-1], attribute or "", kind

    def get(self, element: Element) -> tuple[Any, ...]:
        parent = find(element, self.parents)
        try:
            found = [] if parent is None else parent.findall(self.tag)
            return tuple(self.kind.load(node.attrib[self.attribute]) for node in found)
        except (ValueError, KeyError):
            return ()

    def put(self, element: Element, value: tuple[Any, ...]) -> None:
        parent = require(element, self.parents)
        for node in parent.findall(self.tag):
            parent.remove(node)
        for item in value:
            SubElement(parent, self.tag, {self.attribute: self.kind.dump(item)})
        prune(element, self.parents)


class Words:
    """A list of scalars in one attribute, with blanks between them. All or none are understood."""

    def __init__(self, path: str, kind: Kind) -> None:
        self.steps, attribute = split(path)
        self.attribute, self.kind = attribute or "", kind

    def get(self, element: Element) -> tuple[Any, ...]:
        node = find(element, self.steps)
        try:
            return () if node is None else tuple(map(self.kind.load, node.get(self.attribute, "").split()))
        except (ValueError, KeyError):
            return ()

    def put(self, element: Element, value: tuple[Any, ...]) -> None:
        node = require(element, self.steps)
        node.attrib.pop(self.attribute, None)
        if value:
            node.set(self.attribute, " ".join(map(self.kind.dump, value)))
        prune(element, self.steps)


class Pairs:
    """A mapping, one element each: <vcpupin vcpu='0' cpuset='2'/>. Elements that are not understood stay."""

    def __init__(self, path: str, key: str, key_kind: Kind, value: str, value_kind: Kind) -> None:
        steps, _ = split(path)
        self.parents, self.tag = steps[:-1], steps[-1]
        self.key, self.key_kind, self.value, self.value_kind = key, key_kind, value, value_kind

    def _pair(self, node: Element) -> tuple[Any, Any] | None:
        try:
            return self.key_kind.load(node.attrib[self.key]), self.value_kind.load(node.attrib[self.value])
        except (ValueError, KeyError):
            return None

    def get(self, element: Element) -> Mapping[Any, Any] | None:
        parent = find(element, self.parents)
        pairs = [] if parent is None else [self._pair(node) for node in parent.findall(self.tag)]
        return dict(pair for pair in pairs if pair) or None

    def put(self, element: Element, value: Mapping[Any, Any] | None) -> None:
        wanted = dict(value or {})
        parent = require(element, self.parents)
        for node in parent.findall(self.tag):
            pair = self._pair(node)
            if pair and pair[0] not in wanted:
                parent.remove(node)
            elif pair:
                new = wanted.pop(pair[0])
                if new != pair[1]:
                    node.set(self.value, self.value_kind.dump(new))
        for key, item in wanted.items():
            SubElement(parent, self.tag, {self.key: self.key_kind.dump(key), self.value: self.value_kind.dump(item)})
        prune(element, self.parents)


@dataclass(frozen=True, kw_only=True)
class Mapper:
    """How a group of fields is read from and written to one element; made by `spec/declare.py` for each class."""

    cls: type
    read: Callable[[Element], Any]
    write: Callable[[Any, Element], None]


class Group:
    """A group of fields below one element; `()` means this very element. A group without any value is None.

    A bare value that stands for a group, such as `auto`, is decided elsewhere and leaves the document as it is.
    """

    def __init__(self, path: str, mapper: Callable[[], Mapper]) -> None:
        self.steps = split(path)[0] if path else ()
        self.mapper = mapper

    def get(self, element: Element) -> Any:
        node = find(element, self.steps)
        value = None if node is None else self.mapper().read(node)
        return None if value == self.mapper().cls() else value

    def put(self, element: Element, value: Any) -> None:
        cls = self.mapper().cls
        if value is None or isinstance(value, cls):
            self.mapper().write(cls() if value is None else value, require(element, self.steps))
            prune(element, self.steps)


class Many:
    """A list of groups, one element each. Items are matched with elements by `key`, so that what an element has
    besides (its alias, its address) stays with it; items without a key are matched by position.

    `when` says which elements are ours; the others are left alone.
    """

    def __init__(
        self,
        path: str,
        mapper: Callable[[], Mapper],
        *,
        key: Callable[[Any], Any],
        when: Callable[[Element], bool] = lambda element: True,
    ) -> None:
        steps, _ = split(path)
        self.parents, self.tag, self.mapper, self.key, self.when = steps[:-1], steps[-1], mapper, key, when

    def _elements(self, element: Element) -> list[Element]:
        parent = find(element, self.parents)
        return [] if parent is None else [node for node in parent.findall(self.tag) if self.when(node)]

    def get(self, element: Element) -> tuple[Any, ...]:
        return tuple(self.mapper().read(node) for node in self._elements(element))

    def put(self, element: Element, value: tuple[Any, ...]) -> None:
        left = self._elements(element)
        keys = {id(node): self.key(self.mapper().read(node)) for node in left}
        parent = require(element, self.parents)
        ours = []
        for item in value:
            key = self.key(item)
            node = next((node for node in left if keys[id(node)] == key), None)
            if node is None:
                node = SubElement(parent, self.tag)
            else:
                left.remove(node)
            self.mapper().write(item, node)
            ours.append(node)
        for node in left:
            parent.remove(node)
        places = [index for index, node in enumerate(parent) if any(node is one for one in ours)]
        for index, node in zip(places, ours):  # in the order of the list
            parent[index] = node
        prune(element, self.parents)
