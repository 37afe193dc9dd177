"""Lines made of pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kvmctl.plan.placement.text import Span, filled, length, numbers, padded, plain, shortened, stripped


@pytest.mark.parametrize(
    ("cpus", "said"),
    [
        ([], ""),
        ([3], "3"),
        ([0, 1, 2, 8], "0-2,8"),
        ([0, 2, 4], "0,2,4"),
        ([0, 2, 4, 6], "0,2..6"),
        ([1, 5, 9, 13, 17, 18, 19], "1,5..13,17-19"),
        ([0, 1, 4, 6, 8, 10, 30], "0-1,4,6..10,30"),
    ],
)
def test_numbers(cpus: list[int], said: str) -> None:
    assert numbers(cpus) == said


def read(said: str) -> set[int]:
    """The CPUs that are meant."""
    found: set[int] = set()
    before = 0
    for part in said.split(",") if said else ():
        first, _, last = part.replace("..", "-").partition("-")
        step = int(first) - before if ".." in part else 1
        found |= {*range(int(first), int(last or first) + 1, step)}
        before = int(first)
    return found


@given(some.sets(some.integers(0, 60)))
def test_numbers_mean_what_they_say(cpus: set[int]) -> None:
    assert read(numbers(cpus)) == cpus


def test_a_long_name_loses_its_middle() -> None:
    assert shortened("web1:0", 6) == "web1:0"
    assert shortened("a-name-that-is-long:12", 12) == "a-nam..ng:12"
    assert len(shortened("a-name-that-is-long:12", 3)) == 4


def test_lines_are_filled() -> None:
    words = [(Span(word, "dim"),) for word in ("one", "two", "three", "0,1,2,3,4,5,6,7")]
    lines = filled((Span("on: "),), words, 14)
    assert [*map(plain, lines)] == ["on: one two", "    three", "    0,1,2,3,4,", "    5,6,7"]
    assert plain(filled((), words[:1], 14)[0]) == "one"


def test_padding_and_stripping() -> None:
    line = padded((Span("a", "dim"),), 4)
    assert (plain(line), length(line)) == ("a   ", 4)
    assert padded((Span("abc"),), 2) == (Span("abc"),)
    assert stripped((Span("a ", "dim"), Span("  "))) == (Span("a", "dim"),)
    assert stripped((Span(" "),)) == ()
