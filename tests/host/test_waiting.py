"""Waiting for a guest that does not hear us the first time. The watch is a stand-in: a real guest cannot be made deaf
at will; those are in `tests/lab`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kvmctl.errors import TimedOut
from kvmctl.host import waiting
from kvmctl.host.watch import Seen
from kvmctl.parallel import Work


class Deaf:
    """A guest that shuts down when it was asked often enough."""

    host = "here"

    def __init__(self, hears: int) -> None:
        self.hears = hears
        self.asked = 0
        self.vm = Seen(name="web1", uuid="6695eb01-f6a4-8304-79aa-97f2502e193f", state="running", reason="")

    def find(self, name: str) -> Seen:
        return self.vm

    now = find

    def do(self, deed: str, vm: Seen, work: Work, **options: Any) -> Any:
        self.asked += deed == "ask_to_stop"

    def until(self, vm: Seen, condition: Callable[[Seen], bool], work: Work) -> Seen | None:
        if self.asked >= self.hears:
            return Seen(name=vm.name, uuid=vm.uuid, state="stopped", reason="")
        time.sleep(work.remaining())
        return None


def test_a_guest_is_asked_again_until_it_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "ASK_AGAIN_SECONDS", 0.01)
    watch: Any = Deaf(hears=3)
    assert waiting.stop(watch, "web1", Work(5, threading.Event()))["state"] == "stopped"
    assert watch.asked == 3


def test_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "ASK_AGAIN_SECONDS", 0.01)
    watch: Any = Deaf(hears=10_000)
    with pytest.raises(TimedOut, match="was asked to shut down"):
        waiting.stop(watch, "web1", Work(1, threading.Event()))
    assert 2 < watch.asked <= 102
