"""What YAML is read into: nodes that know the place they were written at.

Holds no reading, no writing and no meaning: a scalar stays the text that the user wrote (`NO`, `010`, `1e3`),
and whoever knows what is expected there decides what it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvmctl.errors import Problem, SpecError


class Place:
    """A place in a file: line and column count from 1, in characters; `text` is the whole line, for a caret."""

    __slots__ = ("column", "file", "line", "text")

    def __init__(self, file: str, line: int, column: int, text: str = "") -> None:
        self.file = file
        self.line = line
        self.column = column
        self.text = text

    def __repr__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def problem(self, path: str, message: str, hint: str = "") -> Problem:
        """A mistake found at this place."""
        return Problem(
            file=self.file,
            line=self.line,
            column=self.column,
            text=self.text,
            path=path,
            message=message,
            hint=hint,
        )


Map = dict[str, tuple[Place, "Node"]]


class Node:
    """A scalar (`value` is text), a list (of nodes) or a map (key -> place of the key, node).

    `quoted` is True for a scalar in quotes or a block, which is surely text; `null` for a plain `~`, `null` or nothing.
    Nodes are not changed once made: an alias gives the same node as its anchor.
    """

    __slots__ = ("kind", "null", "place", "quoted", "value")

    def __init__(
        self,
        place: Place,
        value: str | list[Node] | Map,
        *,
        quoted: bool = False,
        null: bool = False,
    ) -> None:
        self.place = place
        self.value = value
        self.kind = "scalar" if isinstance(value, str) else "list" if isinstance(value, list) else "map"
        self.quoted = quoted
        self.null = null

    def __repr__(self) -> str:
        return f"<{self.kind} {self.value!r} at {self.place!r}>"

    @property
    def text(self) -> str:
        """The text of a scalar."""
        assert isinstance(self.value, str)
        return self.value

    @property
    def items(self) -> list[Node]:
        """The items of a list."""
        assert isinstance(self.value, list)
        return self.value

    @property
    def keys(self) -> Map:
        """The keys of a map, each with its place and node."""
        assert isinstance(self.value, dict)
        return self.value


NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""What a plain scalar says to mean nothing."""


def spec_error(problems: Sequence[Problem], code: str = "spec-invalid") -> SpecError:
    """The error that tells all these problems, in the order of the file."""
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
    count = "a mistake" if len(ordered) == 1 else f"{len(ordered)} mistakes"
    files = ", ".join(dict.fromkeys(problem.file for problem in ordered))
    message = f"{files} cannot be read as a spec" if code == "spec-unreadable" else f"{files} has {count}"
    return SpecError(code, message, problems=ordered)
