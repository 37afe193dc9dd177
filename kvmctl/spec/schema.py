"""The JSON Schema of specs and the text of kvmctl-spec(5), both from the declarations.

The schema is for editors: it knows names, types and forms. What only the whole spec can tell is checked by `structure`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kvmctl.spec.declare import Declaration, declarations
from kvmctl.spec.model.vm import Vm

IDENTIFIER = "https://kvmctl.dev/schema/vm.json"


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) that every valid spec satisfies."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": IDENTIFIER,
        "title": "kvmctl VM spec",
        **_group(Vm),
    }


def _group(cls: type) -> dict[str, Any]:
    # Nothing is "required": a template, or --set, may give what a file leaves out.
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _field(declared) for name, declared in declarations(cls).items()},
    }


def _field(declared: Declaration) -> dict[str, Any]:
    shape = _shape(declared)
    if declared.bare is not None:
        shape = {"anyOf": [_plain(declared.bare.schema), shape]}
    return {"description": declared.doc, **shape}


def _shape(declared: Declaration) -> dict[str, Any]:
    if declared.cls is not None:
        item = _item(declared.cls)
        if not declared.many:
            return item
        listed = {"type": "array", "items": item}
        return {"anyOf": [listed, item]} if declared.one else listed
    assert declared.kind is not None
    if declared.key_kind is not None:
        return {"type": "object", "additionalProperties": _plain(declared.kind.schema)}
    if declared.many:
        listed = {"type": "array", "items": dict(declared.kind.schema)}
        return {"anyOf": [listed, dict(declared.kind.schema)]} if declared.one else listed
    return _plain(declared.kind.schema)


def _item(cls: type) -> dict[str, Any]:
    """A group, or the bare value that may stand for it."""
    shorthand = getattr(cls, "SHORTHAND", None)
    if shorthand is None:
        return _group(cls)
    return {"anyOf": [_shape(declarations(cls)[shorthand]), _group(cls)]}


def _plain(schema: Any) -> dict[str, Any]:
    """Text of a fixed form may also be written as a number where it looks like one: `pin: {0: 2}`."""
    shape = dict(schema)
    if "anyOf" in shape:
        shape["anyOf"] = [_plain(part) for part in shape["anyOf"]]
    if shape.get("type") == "string":
        shape["type"] = ["string", "number"]
    return shape


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One key in the manual: its path (`disks[].size`), what may stand there, what it means."""

    path: str
    depth: int
    form: str
    doc: str
    example: str


def manual() -> Iterator[Entry]:
    """Every key, in the order of the declarations."""
    yield from _entries(Vm, "", 0)


def _entries(cls: type, path: str, depth: int) -> Iterator[Entry]:
    for name, declared in declarations(cls).items():
        here = f"{path}.{name}" if path else name
        yield Entry(path=here, depth=depth, form=_form(declared), doc=declared.doc, example=declared.example)
        if declared.cls is not None:
            yield from _entries(declared.cls, here + ("[]" if declared.many else ""), depth + 1)


def _form(declared: Declaration) -> str:
    return f"{declared.bare.what}, or a {_full(declared)}" if declared.bare else _full(declared)


def _full(declared: Declaration) -> str:
    if declared.cls is not None:
        shorthand = getattr(declared.cls, "SHORTHAND", None)
        item = "mapping" + (f", or its {shorthand} alone" if shorthand else "")
        if not declared.many:
            return item
        return f"list of mappings{', or a single one' if declared.one else ''}; each a {item}"
    assert declared.kind is not None
    if declared.key_kind is not None:
        return f"mapping of {declared.key_kind.what} to {declared.kind.what}"
    if not declared.many:
        return declared.kind.what
    return f"list of: {declared.kind.what}{'; or a single one' if declared.one else ''}"
