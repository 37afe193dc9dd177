"""When a move under way is said to be over."""

from __future__ import annotations

import pytest

from kvmctl.plan.migration.outlook import ends_in_ms
from kvmctl.plan.migration.sample import Sample

MB = 1_000_000


@pytest.mark.parametrize(
    ("sample", "expected_ms", "ends"),
    [
        (Sample(phase="precopy", elapsed_ms=1000, remaining=10 * MB, rate=100 * MB), 4000, 3000),
        (Sample(phase="precopy", elapsed_ms=1000, remaining=900 * MB, rate=100 * MB), 4000, 9000),
        (Sample(phase="precopy", elapsed_ms=5000, remaining=10 * MB, rate=100 * MB), 4000, 100),
        (Sample(phase="disks", elapsed_ms=5000, disk_remaining=130 * MB), 4000, None),  # longer than was forecast
        (Sample(phase="disks", elapsed_ms=5000, disk_remaining=130 * MB), None, None),
        (Sample(phase="precopy", iteration=3, remaining=10 * MB, rate=10 * MB, dirty_rate=20 * MB), None, None),
        (Sample(phase="precopy", iteration=3, remaining=10 * MB, rate=10 * MB, dirty_rate=5 * MB), None, 1000),
        (Sample(phase="postcopy", elapsed_ms=5000, remaining=10 * MB, rate=10 * MB), 4000, 1000),
        (Sample(phase="finishing"), None, 0),
    ],
)
def test_when_it_will_be_over(sample: Sample, expected_ms: int | None, ends: int | None) -> None:
    assert ends_in_ms(sample, expected_ms) == ends
