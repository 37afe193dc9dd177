"""What QEMU and libvirt say of a migration under way, at one moment. All sizes in bytes, times in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["preparing", "disks", "precopy", "postcopy", "postcopy-paused", "finishing"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Zero is "nothing yet" wherever libvirt leaves a value out."""

    phase: Phase
    elapsed_ms: int = 0
    total: int = 0
    """Memory to be moved, of the guest's whole."""
    processed: int = 0
    remaining: int = 0
    rate: int = 0
    """Bytes a second on the wire."""
    dirty_rate: int = 0
    """Bytes a second that the guest writes, as QEMU last counted them at the end of a pass."""
    iteration: int = 0
    """The pass over memory; the first is 1."""
    throttle: int = 0
    """Per cent that auto-converge takes from the guest."""
    downtime_ms: int = 0
    """The pause as QEMU expects it now; after the end, what it was."""
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0
    xbzrle_bytes: int = 0
    xbzrle_misses: int = 0
    held: bool = False
    """The guest stands still until all of it has gone."""
