"""Pieces of text with the names of their styles, and lines made of them: what a picture is drawn with. Pure.

What a style looks like is decided where it is shown; a picture must be readable without any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count as count_from
from itertools import takewhile
from typing import NamedTuple

STEPS = 4
"""So many CPUs at even distances are told as a row."""


class Span(NamedTuple):
    """A piece of a line. `style` is one of `STYLES`, or nothing."""

    text: str
    style: str = ""


Line = tuple[Span, ...]

VM_STYLES = tuple(f"vm{number}" for number in range(6))
"""VMs take turns, so that neighbours can be told apart."""
STYLES = ("title", "heading", "dim", "idle", "conflict", "doubt", "planned", *VM_STYLES)


def count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def numbers(cpus: Iterable[int]) -> str:
    """CPUs for people: `0-3,8`, and `0,2..94` where every second one is meant, as many boards number their nodes."""
    runs: list[tuple[int, int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1] = (runs[-1][0], cpu)
        else:
            runs.append((cpu, cpu))
    said = []
    while runs:
        step = runs[1][0] - runs[0][0] if len(runs) > 1 else 0
        row = zip(count_from(runs[0][0], step), runs)
        even = sum(1 for _ in takewhile(lambda pair: pair[1] == (pair[0], pair[0]), row))
        if even >= STEPS:
            said.append(f"{runs[0][0]},{runs[1][0]}..{runs[even - 1][0]}")
        else:
            even = 1
            said.append("-".join(map(str, dict.fromkeys(runs[0]))))
        del runs[:even]
    return ",".join(said)


def plain(line: Iterable[Span]) -> str:
    return "".join(span.text for span in line)


def length(line: Iterable[Span]) -> int:
    return sum(len(span.text) for span in line)


def padded(line: Sequence[Span], width: int) -> Line:
    """The line with spaces at its end, so that something can stand beside it."""
    missing = width - length(line)
    return (*line, Span(" " * missing)) if missing > 0 else tuple(line)


def shortened(name: str, room: int) -> str:
    """A name that has no room loses its middle: its ends tell more."""
    if len(name) <= room:
        return name
    kept = max(2, room - 2)
    return name[: (kept + 1) // 2] + ".." + name[len(name) - kept // 2 :]


def filled(first: Sequence[Span], words: Iterable[Sequence[Span]], width: int) -> list[Line]:
    """Words behind a beginning, as many lines as they need; those that follow are indented as deep as it is long."""
    indent = Span(" " * min(length(first), width // 2))
    lines: list[list[Span]] = [[*first]]
    room = width - length(first)
    empty = True
    for word in _broken(words, width - length((indent,))):
        long = length(word) + (not empty)
        if long > room and not empty:
            lines.append([indent])
            room, long, empty = width - len(indent.text), length(word), True
        lines[-1] += [*([] if empty else [Span(" ")]), *word]
        room, empty = room - long, False
    return [tuple(line) for line in lines]


def _broken(words: Iterable[Sequence[Span]], room: int) -> Iterator[Sequence[Span]]:
    """Words; one that is longer than a line is broken behind its commas."""
    for word in words:
        if length(word) <= room:
            yield word
            continue
        for text, style in word:
            part = ""
            for piece in text.replace(",", ",\n").split("\n"):
                if part and len(part) + len(piece) > room:
                    yield (Span(part, style),)
                    part = ""
                part += piece
            yield (Span(part, style),)


def stripped(line: Line) -> Line:
    """The line without spaces at its end."""
    while line and not line[-1].text.rstrip():
        line = line[:-1]
    return (*line[:-1], line[-1]._replace(text=line[-1].text.rstrip())) if line else ()
