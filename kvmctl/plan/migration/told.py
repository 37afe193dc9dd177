"""What is told of a migration while it goes on: to a bar, to plain lines, or to a program as one JSON object a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kvmctl.plan.migration.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Told:
    """`step`: something began or was done, in words. `progress`: a sample. `decision`: what the pilot did, and why."""

    kind: Literal["step", "progress", "decision"]
    vm: str
    what: str = ""
    sample: Sample | None = None
    ends_in_ms: int | None = None
    """The forecast of the end, from now."""
