"""How a migration is carried out: chosen before it starts by `policy`, and handed to libvirt with its first call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Means:
    """Flags and parameters of the move. `reasons` are sentences for people, one per choice."""

    downtime_ms: int
    """The limit QEMU begins with; the pilot raises it up to the wish's `max_downtime_ms`."""
    postcopy: bool = False
    """Post-copy is permitted: it costs nothing until the pilot switches to it."""
    xbzrle_cache: int | None = None
    """Bytes."""
    auto_converge: tuple[int, int] | None = None
    connections: int | None = None
    bandwidth: int | None = None
    reasons: tuple[str, ...] = ()
