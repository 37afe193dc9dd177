"""One object in full, for people: a title, named values in a column, and small tables. Readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from kvmctl.columns import aligned, printable

if TYPE_CHECKING:
    from kvmctl.columns import Field, Item
    from kvmctl.output import Output

WIDTH = 80
INDENT = "  "
NAMES = 13
"""The column of the values starts after so many letters."""


def named(output: Output, values: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    """Names and values, one below the other; those without a value are left out, long prose is broken."""
    for name, value in values:
        if not value:
            continue
        lines = wrap(printable(value), WIDTH - NAMES - 2 * len(INDENT), break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            shown = output.painted(name.ljust(NAMES), "dim") if number == 0 else NAMES * " "
            yield f"{INDENT}{shown}{INDENT}{line}"


def prose(mark: str, text: str) -> Iterator[str]:
    """A sentence with a mark of one letter before it, broken where it is long."""
    for number, line in enumerate(wrap(printable(text), WIDTH - 2 * len(INDENT), break_on_hyphens=False)):
        yield f"{INDENT}{mark if number == 0 else ' '} {line}"


def table(output: Output, items: Sequence[Item], fields: Sequence[Field]) -> Iterator[str]:
    """A table with a blank line above; nothing at all where there are no items."""
    if not items:
        return
    yield ""
    for number, line in enumerate(aligned(items, fields)):
        yield INDENT + (output.painted(line, "bold") if number == 0 else line)


def listed(parts: Iterable[str | None]) -> str:
    """What there is, joined by commas."""
    return ", ".join(part for part in parts if part)
