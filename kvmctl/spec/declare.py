"""How a field of the spec is declared, once: its name and type, its place in XML, its kind, its documentation.

    @group
    class Topology:
        cores: int | None = scalar("@cores", integer(1), "Cores per socket.")

From such a declaration follow reading and checking YAML (`structure.py`), XML both ways (`read`, `write`), the JSON
Schema and the manual (`schema.py`). All fields are optional here; what a spec must have is checked by `check`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from keyword import iskeyword
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from kvmctl.spec.groups import Group, Many, Mapper, Pairs, Values
from kvmctl.spec.lenses import Lens, Nowhere, Scalar, edit

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.spec.kinds import Kind

Class = TypeVar("Class")


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """All that is known of one field.

    Exactly one shape: a scalar (`kind`), a list of scalars (`kind` and `many`), a group (`cls`), a list of groups
    (`cls` and `many`), or a mapping (`key_kind` and `kind`). `one` lets a single item stand for a list of one; `bare`
    is what may stand, as a single value of its own, where else a group or a mapping does: `topology: auto`.
    """

    lens: Lens
    doc: str
    kind: Kind | None = None
    key_kind: Kind | None = None
    cls: type | None = None
    many: bool = False
    one: bool = False
    bare: Kind | None = None
    example: str = ""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def group(cls: type[Class]) -> type[Class]:
    """A frozen, keyword-only dataclass of declared fields.

    Class attributes that mean something: SHORTHAND names the field that a bare value stands for; CONSTANTS are
    attributes that every such element has; `check(self)` yields (key, message, hint) for impossible combinations. A key
    that is a word of Python, `class`, is the field `class_`.
    """
    made: Any = dataclass(frozen=True, kw_only=True, slots=True)(cls)
    for item in fields(made):
        if item.name.endswith("_"):
            setattr(made, item.name[:-1], property(attrgetter(item.name)))
    return made  # type: ignore[no-any-return]


def _declare(declaration: Declaration) -> Any:
    return field(default=() if declaration.many else None, metadata={"declaration": declaration})


def scalar(path: str, kind: Kind, doc: str, **more: Any) -> Any:
    """One value at a path."""
    return _declare(Declaration(lens=Scalar(path, kind), kind=kind, doc=doc, **more))


def through(lens: Lens, kind: Kind, doc: str, **more: Any) -> Any:
    """One value through a lens of its own."""
    return _declare(Declaration(lens=lens, kind=kind, doc=doc, **more))


def beside(kind: Kind, doc: str, **more: Any) -> Any:
    """One value that the domain XML has no place for."""
    return _declare(Declaration(lens=Nowhere(), kind=kind, doc=doc, **more))


def values(path: str, kind: Kind, doc: str, **more: Any) -> Any:
    """A list of scalars."""
    return _declare(Declaration(lens=Values(path, kind), kind=kind, many=True, doc=doc, **more))


def pairs(path: str, key: str, key_kind: Kind, value: str, value_kind: Kind, doc: str, **more: Any) -> Any:
    """A mapping of scalars."""
    lens = Pairs(path, key, key_kind, value, value_kind)
    return _declare(Declaration(lens=lens, key_kind=key_kind, kind=value_kind, doc=doc, **more))


def nested(path: str, cls: type, doc: str, **more: Any) -> Any:
    """A group of fields below an element; an empty path means the element itself."""
    return _declare(Declaration(lens=Group(path, lambda: mapper(cls)), cls=cls, doc=doc, **more))


def grouped(lens: Lens, cls: type, doc: str, **more: Any) -> Any:
    """A group of fields, or a list of groups, through a lens of its own."""
    return _declare(Declaration(lens=lens, cls=cls, doc=doc, **more))


def unmapped(cls: type, doc: str, **more: Any) -> Any:
    """A group of fields that the domain XML has no place for."""
    return _declare(Declaration(lens=Nowhere(), cls=cls, doc=doc, **more))


def listed(
    path: str,
    cls: type,
    doc: str,
    *,
    key: Callable[[Any], Any],
    when: Callable[[Element], bool] = lambda element: True,
    kind: type[Many] = Many,
    **more: Any,
) -> Any:
    """A list of groups; `kind` is the lens, where it has more to do than others."""
    lens = kind(path, lambda: mapper(cls), key=key, when=when)
    return _declare(Declaration(lens=lens, cls=cls, many=True, doc=doc, **more))


_DECLARED: dict[type, Mapping[str, Declaration]] = {}


def declarations(cls: type) -> Mapping[str, Declaration]:
    """The declared fields of a class, in order."""
    if cls not in _DECLARED:
        made: Any = cls
        _DECLARED[cls] = {item.name.removesuffix("_"): item.metadata["declaration"] for item in fields(made)}
    return _DECLARED[cls]


def mapper(cls: type) -> Mapper:
    """Reading and writing of a class, for the lenses."""
    return Mapper(cls=cls, read=functools.partial(read, cls), write=write)


def read(cls: type, element: Element) -> Any:
    """An object of the class, from an element."""
    return make(cls, {name: declared.lens.get(element) for name, declared in declarations(cls).items()})


def make(cls: type, values: Mapping[str, Any]) -> Any:
    """An object of the class, from values by key."""
    return cls(**{name + "_" * iskeyword(name): value for name, value in values.items()})


def write(value: Any, element: Element) -> None:
    """Write an object into an element, in place."""
    if not element.attrib and not len(element):  # a fresh element; a found one has what it needs
        element.attrib.update(getattr(type(value), "CONSTANTS", {}))
    for name, declared in declarations(type(value)).items():
        edit(declared.lens, element, getattr(value, name))


def walk(cls: type, path: str = "") -> Iterator[tuple[str, Declaration]]:
    """Every field below a class with its key path; list items are written `disks[]`."""
    for name, declared in declarations(cls).items():
        here = f"{path}.{name}" if path else name
        yield here, declared
        if declared.cls is not None:
            yield from walk(declared.cls, here + ("[]" if declared.many else ""))


def is_bare(declared: Declaration, value: Any) -> bool:
    """Whether a value is the bare one of its field, and not the group or mapping that may stand there."""
    return declared.bare is not None and value is not None and not isinstance(value, declared.cls or Mapping)


def default_of(cls: type, name: str) -> Any:
    """What a field is when it is not given: None, or an empty tuple."""
    return getattr(cls(), name)
