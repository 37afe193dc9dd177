"""Pictures of hosts on the terminal: what `plan/placement/picture.py` draws, in colours where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kvmctl.columns import printable

if TYPE_CHECKING:
    from kvmctl.output import Output

STYLES = {
    "title": "bold",
    "heading": "bold",
    "dim": "dim",
    "idle": "dim green",
    "conflict": "bold red",
    "doubt": "yellow",
    "planned": "bold black on green",
    **{
        f"vm{number}": name for number, name in enumerate(("cyan", "magenta", "blue", "yellow", "green", "bright_cyan"))
    },
}
"""What the styles look like."""


def drawn(output: Output, picture: Iterable[Iterable[tuple[str, str]]]) -> Iterator[str]:
    """The lines of a picture, whose pieces are texts with the names of their styles."""
    for line in picture:
        pieces = ((printable(text), STYLES.get(style)) for text, style in line)
        yield "".join(output.painted(text, style) if style else text for text, style in pieces)
