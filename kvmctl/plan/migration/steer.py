"""What a pilot may have done to a migration under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from kvmctl.plan.migration.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Act:
    """`why` is told to people as it happens, and listed in the result under `decisions`.

    `again` ends the move, to begin it anew with a guest whose writes to its copied disks wait for the target.
    """

    kind: Literal["downtime", "bandwidth", "xbzrle-cache", "postcopy", "pause", "again", "abort", "note"]
    why: str
    value: int = 0
    """Milliseconds for downtime, bytes a second for bandwidth, bytes for a cache."""


class Pilot(Protocol):
    """Told of every sample, in order: at each iteration event, and a few times a second."""

    def observe(self, sample: Sample) -> Sequence[Act]: ...
