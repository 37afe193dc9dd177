"""`--map OLD=NEW`: what a domain XML names on its host, renamed to what the target has in its place.

OLD is a path, or the beginning of one (/var/lib/a), or network:NAME, bridge:NAME or pool:NAME. The longest path counts.
Only what belongs to the host is renamed: nothing that the guest sees, nothing in metadata. A rule that renames nothing
is a mistake, and told. Pure: whether the target has what a rule names is for others to see.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.errors import UsageError
from kvmctl.spec.xmltext import parse, render

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KINDS = ("network", "bridge", "pool")
"""What is named rather than found by a path; each is an attribute of that name, of some <source> or <listen>."""
SECTIONS = ("os", "devices")
"""The parts of a definition that name paths of the host."""
OF_THE_GUEST = ("target", "cmdline", "init", "initarg", "alias")
"""Elements below them that do not, whatever their text looks like. That of <serial> is a disk's serial number."""
PATHS = {"file": "file", "block": "dev"}
"""Type of a disk -> the attribute of its source that is a path."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One place in the XML that a rule applies to: the attribute, or with None the text."""

    element: Element
    attribute: str | None
    value: str
    rule: str
    retyped: Element | None = None
    """The disk whose source this is."""


def read(texts: Iterable[str]) -> dict[str, str]:
    """The rules as the command line gives them. Raises UsageError for one that is none."""
    maps: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old or not new:
            raise _bad(text, "is not OLD=NEW")
        old, new = _end(text, old), _end(text, new, old)
        if maps.setdefault(old, new) != new:
            raise UsageError("usage", f"--map names {old} twice", hint="leave one of them out")
    return maps


def _end(text: str, name: str, old: str = "") -> str:
    """One side of a rule, in its plain form. The new name may repeat the kind of the old one."""
    if name.startswith("/"):
        if old and not old.startswith("/"):
            raise _bad(text, f"maps {old} to a path")
        return posixpath.normpath("/" + name.lstrip("/"))
    kind, colon, rest = name.partition(":")
    if old.startswith("/"):
        raise _bad(text, "maps a path to what is none")
    if old and not (colon and kind in KINDS):
        return name
    if kind not in KINDS or not rest:
        raise _bad(text, f"names neither a path from / on nor {', '.join(f'{known}:NAME' for known in KINDS)}")
    if old and kind != old.partition(":")[0]:
        raise _bad(text, f"maps {old} to something of another kind")
    return rest if old else name


def _bad(text: str, why: str) -> UsageError:
    return UsageError(
        "usage", f"--map {text} {why}", hint="write --map /var/lib/a=/srv/b, or --map network:lan=lan2, bridge:, pool:"
    )


def path(name: str, maps: Mapping[str, str]) -> str:
    """The path that a path becomes."""
    rule = _rule(name, maps)
    return name if rule is None else _renamed(name, rule, maps)


def _rule(name: str, maps: Mapping[str, str]) -> str | None:
    """The longest path among the rules that the name is or lies below."""
    while name.startswith("/"):
        if name in maps:
            return name
        if name == "/":
            break
        name = posixpath.dirname(name)
    return None


def _renamed(name: str, rule: str, maps: Mapping[str, str]) -> str:
    return posixpath.join(maps[rule], name[len(rule) :].lstrip("/")) if name != rule else maps[rule]


def mapped(xml: str, maps: Mapping[str, str]) -> str:
    """The definition as the target is to have it."""
    domain = parse(xml)
    apply(domain, maps)
    return render(domain)


def apply(domain: Element, maps: Mapping[str, str]) -> None:
    """The same in place. A disk that goes from a file to a block device, or back, changes its type with it."""
    for change in [*_changes(domain, maps)]:
        if change.attribute is None:
            change.element.text = change.value
        else:
            change.element.set(change.attribute, change.value)
            if change.retyped is not None:
                _retype(change.retyped, change.element, change.value)


def _retype(disk: Element, source: Element, name: str) -> None:
    kind = "block" if name.startswith("/dev/") else "file"
    if kind != disk.get("type", "file"):
        del source.attrib[PATHS[disk.get("type", "file")]]
        source.set(PATHS[kind], name)
        disk.set("type", kind)


def check(xmls: Sequence[str], maps: Mapping[str, str]) -> None:
    """Raise UsageError for a rule that renames nothing in any of the definitions."""
    domains = [parse(xml) for xml in xmls]
    hit = {change.rule for domain in domains for change in _changes(domain, maps)}
    for rule in maps:
        if rule in hit:
            continue
        kind = "path" if rule.startswith("/") else rule.partition(":")[0]
        there = sorted({name for domain in domains for name in _named(domain, kind)})
        what = f"nothing at {rule}" if kind == "path" else f"no {kind} '{rule.partition(':')[2]}'"
        raise UsageError(
            "usage",
            f"--map {rule}={maps[rule]} maps nothing: the VM has {what}",
            hint=f"it has {', '.join(there)}" if there else "leave that --map out",
        )


def _changes(domain: Element, maps: Mapping[str, str]) -> Iterator[Change]:
    disks = {disk.find("source"): disk for disk in domain.iterfind("devices/disk") if disk.get("type", "file") in PATHS}
    for element, attribute, value, kind in _places(domain):
        rule = _rule(value, maps) if kind == "path" else f"{kind}:{value}"
        if rule is None or rule not in maps:
            continue
        new = _renamed(value, rule, maps) if kind == "path" else maps[rule]
        retyped = disks.get(element) if attribute in PATHS.values() else None
        yield Change(element=element, attribute=attribute, value=new, rule=rule, retyped=retyped)


def _named(domain: Element, kind: str) -> set[str]:
    return {value for _, _, value, what in _places(domain) if what == kind}


def _places(domain: Element) -> Iterator[tuple[Element, str | None, str, str]]:
    """Everything of the host that is named: element, attribute or None, name, kind."""
    for section in SECTIONS:
        for found in domain.findall(section):
            for element in _below(found):
                for attribute, value in element.items():
                    if value.startswith("/"):
                        yield element, attribute, value, "path"
                    elif attribute in KINDS and element.tag in ("source", "listen"):
                        yield element, attribute, value, attribute
                text = (element.text or "").strip()
                if text.startswith("/") and element.tag != "serial":
                    yield element, None, text, "path"


def _below(element: Element) -> Iterator[Element]:
    yield element
    for child in element:
        if child.tag not in OF_THE_GUEST:
            yield from _below(child)
