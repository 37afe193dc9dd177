"""What is made of the times that a busy host needs. They are given here: no host is so busy when it is told to be."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from kvmctl.host.migration import link
from kvmctl.parallel import Work

MB = 1_000_000
BUSY = [0.070, 0.071, 0.072]
"""Seconds, with a load of 1 MB on a way of 25 MB/s."""


@pytest.mark.parametrize(
    ("near", "empty", "speed"),
    [
        ([0.004, 0.004, 0.004], [0.020, 0.020, 0.020], 24 * MB),  # 70 - 20 - 4 - 4.5 ms
        ([0.028, 0.029, 0.029], [0.038, 0.080, 0.080], 24 * MB),  # all that is left is what the same call differs by
        ([0.028, 0.028, 0.028], [0.038, 0.038, 0.038], 625 * MB),  # three rounds prove no more
    ],
)
def test_a_busy_host(
    monkeypatch: pytest.MonkeyPatch, near: Sequence[float], empty: Sequence[float], speed: int
) -> None:
    times = {"near": iter(near), "empty": iter(empty), "loaded": iter(BUSY)}

    def timed(domain: Any, uri: str, load: int, work: Work) -> tuple[float, str]:
        which = "near" if uri == link.NO_SUCH_HOST else "loaded" if load else "empty"
        return next(times[which]), link.NO_SUCH_WAY

    monkeypatch.setattr(link, "_timed", timed)
    domain: Any = None
    seen = link.probe(domain, "qemu+tcp://host2/system", work=Work(60, threading.Event()), seconds=60.0)
    assert seen == pytest.approx(speed, rel=0.05)
