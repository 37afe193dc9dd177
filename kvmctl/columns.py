"""How raw values read to people: columns of tables, sizes, yes and no. Plain text; colours are `output`'s."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]


class Field:
    """One column: the key of the raw value, its heading, and how a person reads it. `wide` ones need -o wide."""

    __slots__ = ("heading", "key", "right", "show", "wide")

    def __init__(
        self,
        key: str,
        heading: str = "",
        show: Callable[[Any], str] | None = None,
        *,
        wide: bool = False,
        right: bool = False,
    ) -> None:
        self.key = key
        self.heading = heading or key.replace("_", " ").upper()
        self.show = show or plain
        self.wide = wide
        self.right = right

    def text(self, item: Item) -> str:
        """The value for a person, on one line and free of control characters."""
        return printable(self.show(item.get(self.key)))


def printable(text: str) -> str:
    """The text on one line and free of control characters, whatever is in it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def plain(value: Any) -> str:
    """A raw value as a person reads it: nothing is '-', truth is yes or no, lists are joined by commas."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(map(plain, value))
    return str(value)


def size(value: int | None) -> str:
    """Bytes in binary units with at most one decimal: 1536 MiB is '1.5GiB'."""
    if value is None:
        return "-"
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(amount) < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.1f}".removesuffix(".0") + unit


def is_failure(item: Item) -> bool:
    """True for what stands in an answer for a thing that failed: its error is an object."""
    return isinstance(item.get("error"), Mapping)


def aligned(items: Sequence[Item], fields: Sequence[Field]) -> list[str]:
    """The lines of a table without colours, the headings first."""
    rows = [[field.text(item) for field in fields] for item in items]
    widths = [max([len(field.heading), *(len(row[i]) for row in rows)]) for i, field in enumerate(fields)]
    return [
        "  ".join(
            text.rjust(width) if field.right else text.ljust(width) for text, width, field in zip(row, widths, fields)
        ).rstrip()
        for row in [[field.heading for field in fields], *rows]
    ]
