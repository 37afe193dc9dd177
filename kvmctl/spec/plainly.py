"""Objects of the model -> plain dicts and lists, as short as the language allows; `yaml_writer` makes text of them."""

from __future__ import annotations

from typing import Any

from kvmctl.spec.declare import Declaration, declarations, default_of, is_bare


def to_plain(value: Any) -> Any:
    """What a person would write: keys that say nothing are left out, and a lone shorthand stands for its group."""
    shown = {
        name: _field(declared, getattr(value, name))
        for name, declared in declarations(type(value)).items()
        if getattr(value, name) != default_of(type(value), name)
    }
    shorthand = getattr(type(value), "SHORTHAND", None)
    if shorthand and set(shown) == {shorthand}:
        return shown[shorthand]
    return shown


def _field(declared: Declaration, value: Any) -> Any:
    if declared.bare is not None and is_bare(declared, value):
        return declared.bare.show(value)
    if declared.cls is not None and declared.many:
        items = [_present(to_plain(item), declared.cls) for item in value]
        return items[0] if declared.one and len(items) == 1 else items
    if declared.cls is not None:
        return _present(to_plain(value), declared.cls)
    assert declared.kind is not None
    if declared.key_kind is not None:
        return {str(declared.key_kind.show(key)): declared.kind.show(item) for key, item in value.items()}
    if declared.many:
        return [declared.kind.show(item) for item in value]
    return declared.kind.show(value)


def _present(plain: Any, cls: type) -> Any:
    """A device that is there without saying anything of itself is `true`, where the language has that."""
    return True if plain == {} and getattr(cls, "SHORTHAND", None) == "enabled" else plain
