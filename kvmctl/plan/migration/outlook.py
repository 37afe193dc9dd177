"""When a move under way will be over, as far as can be said: from the forecast, and from what is left. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.migration.sample import Sample


def ends_in_ms(sample: Sample, expected_ms: int | None) -> int | None:
    """Milliseconds from now; None where nothing is known. `expected_ms` is what was forecast for the whole.

    What is left must go in any case. Before post-copy the guest may write it again, which the forecast has thought of.
    """
    left = sample.remaining + sample.disk_remaining
    at_least = round(left * 1000 / sample.rate) if sample.rate else None
    if sample.phase in ("postcopy", "finishing") or sample.held:
        return at_least if left else 0
    if expected_ms is None:
        # A guest that writes more than what goes away has no end in sight.
        return at_least if sample.iteration <= 1 or sample.dirty_rate < sample.rate else None
    return max(at_least or 0, expected_ms - sample.elapsed_ms, 0) or None
