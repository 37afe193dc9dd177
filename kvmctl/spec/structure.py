"""Nodes -> objects of the model: every mistake is collected with its place, none is guessed away.

Driven by the declarations alone. What a spec means on a host is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kvmctl.spec.declare import Declaration, declarations, make
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.places import Node, Place, spec_error

if TYPE_CHECKING:
    from kvmctl.errors import Problem
    from kvmctl.spec.kinds import Kind


class _Failed(Exception):
    """A value could not be made; why has been collected."""


class _Sight:
    """An object as its `check` sees it, which notes when a value that could not be read is looked at."""

    def __init__(self, value: Any, failed: Set[str]) -> None:
        self._value = value
        self._failed = failed
        self.blurred = False

    def __getattr__(self, name: str) -> Any:
        self.blurred = self.blurred or name.removesuffix("_") in self._failed
        return getattr(self._value, name)


class _Builder:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def fail(self, place: Place, path: str, message: str, hint: str = "") -> _Failed:
        self.problems.append(place.problem(path, message, hint))
        return _Failed()

    def scalar(self, kind: Kind, node: Node, path: str, *, also: str = "") -> Any:
        if node.kind != "scalar":
            raise self.fail(node.place, path, f"expected {kind.what}{also}, found a {_named(node)}")
        if node.null:
            hint = "leave the key out, or give it a value"
            raise self.fail(node.place, path, f"expected {kind.what}{also}, found nothing", hint)
        try:
            return kind.parse(node.text)
        except ValueError as problem:
            message, _, hint = str(problem).partition("; ")
            raise self.fail(node.place, path, message, hint) from None

    def field(self, declared: Declaration, node: Node, path: str) -> Any:
        if declared.bare is not None and node.kind != "map":
            return self.scalar(declared.bare, node, path, also=", or a mapping")
        if declared.many:
            return self.sequence(declared, node, path)
        if declared.key_kind is not None and declared.kind is not None:
            return self.mapping(declared.key_kind, declared.kind, node, path)
        if declared.cls is not None:
            return self.group(declared.cls, node, path)
        assert declared.kind is not None
        return self.scalar(declared.kind, node, path)

    def sequence(self, declared: Declaration, node: Node, path: str) -> tuple[Any, ...]:
        if node.kind == "list":
            nodes, paths = node.items, [f"{path}[{index}]" for index in range(len(node.items))]
        elif declared.one and not node.null:
            nodes, paths = [node], [path]
        else:
            raise self.fail(node.place, path, f"expected a list, found a {_named(node)}", "start each item with '- '")
        made = []
        failed = False
        for item, here in zip(nodes, paths):
            try:
                made.append(
                    self.group(declared.cls, item, here) if declared.cls else self.scalar(_kind(declared), item, here)
                )
            except _Failed:
                failed = True
        if failed:
            raise _Failed
        return tuple(made)

    def mapping(self, key_kind: Kind, kind: Kind, node: Node, path: str) -> dict[Any, Any]:
        if node.kind != "map":
            raise self.fail(node.place, path, f"expected a mapping, found a {_named(node)}", "write {key: value}")
        made: dict[Any, Any] = {}
        failed = False
        for name, (place, item) in node.keys.items():
            try:
                key = key_kind.parse(name)
                made[key] = self.scalar(kind, item, f"{path}.{name}")
            except ValueError as problem:
                message, _, hint = str(problem).partition("; ")
                self.fail(place, f"{path}.{name}", message, hint)
                failed = True
            except _Failed:
                failed = True
        if failed:
            raise _Failed
        return made

    def group(self, cls: type, node: Node, path: str) -> Any:
        shorthand = getattr(cls, "SHORTHAND", None)
        if node.kind != "map":
            declared = declarations(cls).get(shorthand) if shorthand else None
            fits = declared is not None and (node.kind == "list") == declared.many and not node.null
            if shorthand is None or declared is None or not fits:
                example = ", ".join(list(declarations(cls))[:3])
                raise self.fail(
                    node.place,
                    path or "spec",
                    f"expected a mapping, found a {_named(node)}",
                    f"its keys are {example}, …",
                )
            return self.checked(cls, {shorthand: self.field(declared, node, path)}, node, path)
        given: dict[str, Any] = {}
        failed: set[str] = set()
        known = declarations(cls)
        for name, (place, item) in node.keys.items():
            here = f"{path}.{name}" if path else name
            if name not in known:
                self.fail(place, here, "unknown key", _suggest(name, known))
                failed.add(name)
                continue
            try:
                given[name] = self.field(known[name], item, here)
            except _Failed:
                failed.add(name)
        for name in getattr(cls, "REQUIRED", ()):
            if name not in node.keys:
                hint = f"write {name}: {known[name].example}"
                self.fail(node.place, f"{path}.{name}" if path else name, "required key is missing", hint)
                failed.add(name)
        return self.checked(cls, given, node, path, failed)

    def checked(self, cls: Any, given: dict[str, Any], node: Node, path: str, failed: Set[str] = frozenset()) -> Any:
        """The object, if nothing is wrong with it as a whole. What a check says after it looked at a value that could
        not be read is not worth telling."""
        value = make(cls, given)
        sight = _Sight(value, failed)
        found = False
        for below, message, hint in cls.check(sight) if hasattr(cls, "check") else ():
            if sight.blurred:
                break
            here = ".".join(part for part in (path, below) if part)
            self.fail(place_of(node, below), here, message, hint)
            found = True
        if found or failed:
            raise _Failed
        return value


def _kind(declared: Declaration) -> Kind:
    assert declared.kind is not None
    return declared.kind


def _named(node: Node) -> str:
    return {"list": "list", "map": "mapping", "scalar": "single value"}[node.kind] if not node.null else "nothing"


def _suggest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"


def place_of(node: Node, path: str) -> Place:
    """The place of the value at a key path such as `disks[1].name` below a node, or of the nearest one above it."""
    place = node.place
    for step in path.replace("[", ".[").split("."):
        if node.kind == "map" and step in node.keys:
            place, node = node.keys[step]
            place = node.place if node.kind == "scalar" and not node.null else place
        elif node.kind == "list" and step.startswith("[") and int(step[1:-1]) < len(node.items):
            node = node.items[int(step[1:-1])]
            place = node.place
        elif step:
            break
    return place


def build(node: Node) -> Vm:
    """The VM that a spec describes. Raises SpecError with all its mistakes, in the order of their places."""
    builder = _Builder()
    try:
        vm: Vm = builder.group(Vm, node, "")
    except _Failed:
        raise spec_error(builder.problems) from None
    return vm
