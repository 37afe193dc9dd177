"""Kinds of scalar values: how each is written in YAML, how in XML, and what the schema and the manual say of it.

A `Kind` is both codecs of a value in one place. `parse` takes the text a user wrote and raises ValueError with a
sentence; `load` takes XML text and raises ValueError or KeyError for what it does not know, which the lenses take
as "not ours". Nothing here knows about fields, places or elements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any

CpuSet = frozenset[int]
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
XML_UNITS = {
    "b": 1,
    "bytes": 1,
    "KB": 10**3,
    "k": 2**10,
    "KiB": 2**10,
    "MB": 10**6,
    "M": 2**20,
    "MiB": 2**20,
    "GB": 10**9,
    "G": 2**30,
    "GiB": 2**30,
    "TB": 10**12,
    "T": 2**40,
    "TiB": 2**40,
}
"""https://libvirt.org/formatdomain.html#memory-allocation"""
LARGEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of scalar. `what` completes the sentence "expected …"; `schema` is its JSON Schema."""

    what: str
    schema: Mapping[str, Any]
    parse: Callable[[str], Any]
    show: Callable[[Any], Any] = field(default=lambda value: value)
    load: Callable[[str], Any] = str
    dump: Callable[[Any], str] = str


def _refuse_unwritable(text: str, allowed: str = "") -> None:
    for character in text:
        code = ord(character)
        control = code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE
        if control and character not in allowed:
            raise ValueError(f"contains the control character U+{code:04X}")


def _text(value: str) -> str:
    _refuse_unwritable(value, "\n\t")
    return value


def _line(value: str) -> str:
    _refuse_unwritable(value)
    if not value.strip():
        raise ValueError("is empty")
    return value


def _name(value: str) -> str:
    _line(value)
    if "/" in value:
        raise ValueError("a name cannot contain '/'")
    if value[0] in "-.":
        raise ValueError(f"a name cannot start with '{value[0]}'")
    if value != value.strip():
        raise ValueError("a name cannot start or end with a space")
    if len(value.encode()) > 200:
        raise ValueError(f"a name has at most 200 bytes; this has {len(value.encode())}")
    return value


def _path(value: str) -> str:
    _line(value)
    if not value.startswith("/"):
        raise ValueError(f"'{value}' is not an absolute path; a path on the host starts with '/'")
    if ".." in value.split("/"):
        raise ValueError("a path with '..' in it is not accepted; write the path it leads to")
    return value


def pattern(what: str, expression: str, example: str, *, lower: bool = False) -> Kind:
    """Text of a fixed form."""
    compiled = re.compile(expression)

    def parse(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"'{value[:80]}' is not {what}; write for example {example}")
        return value.lower() if lower else value

    schema = {"type": "string", "pattern": f"^({expression})$"}
    return Kind(what=what, schema=schema, parse=parse, load=parse)


TEXT = Kind(what="text", schema={"type": "string"}, parse=_text, load=_text)
LINE = Kind(what="text on one line", schema={"type": "string"}, parse=_line, load=_line)
NAME = Kind(
    what="a name",
    schema={"type": "string", "pattern": "^[^-./][^/]*$", "maxLength": 200},
    parse=_name,
    load=_name,
)
PATH = Kind(what="an absolute path on the host", schema={"type": "string", "pattern": "^/"}, parse=_path, load=_path)
UUID = pattern(
    "a UUID", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", lower=True
)
MAC = pattern(
    "a MAC address of one card", "[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}", "52:54:00:12:34:56", lower=True
)
WORD = pattern("a word of letters, digits and _.-", "[A-Za-z0-9_][A-Za-z0-9_.-]*", "q35")


def integer(least: int = 0, most: int = 2**31 - 1) -> Kind:
    """A whole number between two bounds, both included."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", value):
            raise ValueError(f"expected a whole number, got '{value[:80]}'")
        number = int(value)
        if not least <= number <= most:
            raise ValueError(f"{number} is out of range; it goes from {least} to {most}")
        return number

    def load(text: str) -> int:
        return parse(text.strip())

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Kind(what="a whole number", schema=schema, parse=parse, load=load)


def _boolean(value: str) -> bool:
    known = {"true": True, "false": False}
    if value.lower() in known:
        return known[value.lower()]
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower())
    raise ValueError(f"expected true or false, got '{value[:80]}'" + (f"; write {meant}" if meant else ""))


def boolean(on: str = "yes", off: str = "no") -> Kind:
    """True or false in YAML; the two words given in XML."""
    return Kind(
        what="true or false",
        schema={"type": "boolean"},
        parse=_boolean,
        load={on: True, off: False}.__getitem__,
        dump=lambda value: on if value else off,
    )


BOOLEAN = boolean()
ON_OFF = boolean("on", "off")


def choice(*names: str, xml: Mapping[str, str] | None = None, more: Kind | None = None) -> Kind:
    """One of a few words; `xml` says which are written otherwise there. `more` is what else may stand there."""
    words = {name: (xml or {}).get(name, name) for name in names}
    back = {text: name for name, text in words.items()}
    what = f"one of {', '.join(names)}" if len(names) > 1 else names[0]

    def parse(value: str) -> Any:
        if value in words:
            return value
        near = get_close_matches(value, words, 1)
        also = f"; did you mean '{near[0]}'?" if near else ""
        try:
            if more is not None:
                return more.parse(value)
        except ValueError as problem:
            raise ValueError(str(problem).partition("; ")[0] + also if near else str(problem)) from None
        raise ValueError(f"'{value[:80]}' is not {what}{also}")

    def load(text: str) -> Any:
        return more.load(text) if more is not None and text not in back else back[text]

    def dump(value: Any) -> str:
        return more.dump(value) if more is not None and value not in words else words[value]

    schema: dict[str, Any] = {"enum": list(names)}
    if more is None:
        return Kind(what=what, schema=schema, parse=parse, load=load, dump=dump)
    return Kind(
        what=f"{what}, or {more.what}",
        schema={"anyOf": [schema, dict(more.schema)]},
        parse=parse,
        show=lambda value: value if value in words else more.show(value),
        load=load,
        dump=dump,
    )


def parse_size(value: str) -> int:
    """`4GiB` as bytes."""
    found = re.fullmatch(r"([0-9]{1,15})(?:\.([0-9]{1,3}))?\s*([A-Za-z]*)", value)
    if not found:
        raise ValueError(f"'{value[:80]}' is not a size; write a number and a unit, for example 4GiB")
    whole, part, unit = found.groups()
    if unit not in UNITS:
        near = {name[0]: name for name in UNITS}.get(unit[:1].upper())
        also = f"{value[: len(value) - len(unit)].strip()}{near}" if unit and near else f"{whole}GiB or {whole}MiB"
        said = f"has the unit '{unit}', which is not one of {', '.join(UNITS)}" if unit else "has no unit"
        raise ValueError(f"'{value[:80]}' {said}; write {also}")
    size: int
    size, left = divmod(int(whole + (part or "")) * UNITS[unit], 10 ** len(part or ""))
    if left or not 0 < size < LARGEST:
        raise ValueError(f"'{value[:80]}' is not a size that can be had")
    return size


def show_size(size: int) -> str:
    """Bytes in the largest unit that divides them."""
    unit = next(name for name, factor in reversed(UNITS.items()) if size % factor == 0)
    return f"{size // UNITS[unit]}{unit}"


SIZE = Kind(
    what="a size such as 4GiB",
    schema={"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(B|KiB|MiB|GiB|TiB)$"},
    parse=parse_size,
    show=show_size,
)


def parse_cpus(value: str, what: str = "CPUs") -> CpuSet:
    """`0-3,8` as a set; `^2` takes one out again, as libvirt writes it."""
    chosen: set[int] = set()
    for part in value.replace(" ", "").split(","):
        found = re.fullmatch(r"(\^?)([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if not found or (found[3] and int(found[3]) < int(found[2])):
            raise ValueError(f"'{value[:80]}' is not a set of {what}; write for example 0-3,8")
        cpus = range(int(found[2]), int(found[3] or found[2]) + 1)
        chosen = chosen.difference(cpus) if found[1] else chosen.union(cpus)
    if not chosen:
        raise ValueError(f"'{value[:80]}' leaves no {what[:-1]}")
    return frozenset(chosen)


def show_cpus(cpus: CpuSet) -> str:
    """A set as Linux writes it: `0-3,8`."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][-1] == cpu - 1:
            runs[-1][1:] = [cpu]
        else:
            runs.append([cpu])
    return ",".join("-".join(map(str, run)) for run in runs)


def numbers(what: str, example: str) -> Kind:
    """A set of numbers that people call by a plural."""
    parse = partial(parse_cpus, what=what)
    return Kind(
        what=f"a set of {what} such as {example}",
        schema={"type": "string", "pattern": r"^\^?[0-9]+(-[0-9]+)?(,\^?[0-9]+(-[0-9]+)?)*$"},
        parse=parse,
        show=show_cpus,
        load=parse,
        dump=show_cpus,
    )


CPUS = numbers("CPUs", "0-3,8")
VCPUS = numbers("vCPUs", "0-3")
NODES = numbers("NUMA nodes", "0-1")


def _percent(value: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})\s*%", value)
    if not found or not int(found[1]):
        raise ValueError(f"'{value[:80]}' is not a percentage; write for example 150%")
    return int(found[1])


PERCENT = Kind(
    what="a percentage such as 150%",
    schema={"type": "string", "pattern": r"^[0-9]+\s*%$"},
    parse=_percent,
    show=lambda value: f"{value}%",
)
