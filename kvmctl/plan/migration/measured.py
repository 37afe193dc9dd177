"""What was measured of a guest and of the way to the target. Sizes in bytes, rates in bytes a second."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measured:
    """None: could not be measured; the policy then goes by what it sees under way."""

    memory: int
    """That the guest has."""
    used: int | None = None
    """Of it, what was ever touched, as far as the host knows."""
    dirty_rate: int | None = None
    working_set: int | None = None
    """Memory written again and again."""
    link: int | None = None
