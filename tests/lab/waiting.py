"""Waiting for what happens elsewhere, always with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 100.0
"""Seconds that anything may take which is to happen: a machine may be busy, and waiting costs nothing if it is not."""


def until(condition: Callable[[], object], what: str, *, seconds: float = LIMIT) -> None:
    """Come back when the condition holds; fail the test if it does not in time."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


def until_said(log: Path, text: str, *, seconds: float = LIMIT) -> None:
    """Come back when the text stands in the file, a VM's serial console for example."""

    def said() -> bool:
        return log.exists() and text in log.read_text(errors="replace")

    try:
        until(said, f"'{text}' in {log.name}", seconds=seconds)
    except AssertionError as problem:
        written = log.read_text(errors="replace") if log.exists() else "(there is no such file)"
        raise AssertionError(f"{problem}; it says:\n{written}") from None
