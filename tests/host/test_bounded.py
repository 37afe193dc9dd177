"""Calls with an end: what comes back, what is left behind, and what is roused."""

from __future__ import annotations

import threading

import pytest

from kvmctl.errors import Interrupted
from kvmctl.host import bounded
from kvmctl.parallel import Work

LONG = 100.0


@pytest.fixture(autouse=True)
def left_behind(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Of each test alone."""
    event = threading.Event()
    monkeypatch.setattr(bounded, "left_behind", event)
    return event


def test_what_comes_back(left_behind: threading.Event) -> None:
    assert bounded.call(lambda: 3, LONG) == 3
    with pytest.raises(ZeroDivisionError):
        bounded.call(lambda: 1 // 0, LONG)
    assert not left_behind.is_set()


def test_what_does_not_come_back_is_undone_when_it_does(left_behind: threading.Event) -> None:
    may_end, undone = threading.Event(), threading.Event()
    with pytest.raises(TimeoutError):
        bounded.call(lambda: may_end.wait(LONG), 0.01, late=lambda _: undone.set())
    assert left_behind.is_set()
    may_end.set()
    assert undone.wait(LONG)


def test_cancelled_work_waits_no_longer(left_behind: threading.Event) -> None:
    cancelled, may_end = threading.Event(), threading.Event()
    threading.Timer(0.01, cancelled.set).start()
    with pytest.raises(Interrupted):
        bounded.call(lambda: may_end.wait(LONG), LONG, work=Work(LONG, cancelled))
    may_end.set()
    assert left_behind.is_set()


def test_a_call_that_libvirt_sleeps_over_is_roused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another call; a third one if the second sleeps, too. What those say does not matter."""
    monkeypatch.setattr(bounded, "ROUSE_SECONDS", (0.01, 0.02, 0.03))
    awake = threading.Event()
    roused = iter((lambda: 1 // 0, lambda: awake.wait(LONG), awake.set))
    assert bounded.call(lambda: awake.wait(LONG), LONG, rouse=lambda: next(roused)())  # noqa: PLW0108 - the next at each call


def test_a_call_that_comes_back_is_not_roused() -> None:
    roused: list[int] = []
    bounded.call(lambda: None, LONG, rouse=lambda: roused.append(1))
    assert roused == []
