"""Rates and times as people say them: 350 MB/s, 2.5 s. Sizes are told by `plan.check_facts`."""

from __future__ import annotations


def rate(value: float) -> str:
    """Bytes a second."""
    return f"{value / 1e9:.1f} GB/s" if value >= 1e9 else f"{value / 1e6:.0f} MB/s"


def seconds(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s" if milliseconds < 100_000 else f"{milliseconds / 60_000:.0f} min"
