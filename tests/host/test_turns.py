"""Turns on a directory: one process at a time, those in haste before those who watch, and never for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvmctl.errors import Interrupted, TimedOut
from kvmctl.host.turns import Queue
from tests.environment import ROOT

HOLD = """\
import sys
from kvmctl.host.turns import Queue
turn = Queue(sys.argv[1]).take(200, patient=len(sys.argv) > 2)
print("mine", flush=True)
sys.stdin.read()
"""


@contextmanager
def other(directory: Path, *, patient: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Another process, which takes its turn and ends at the end of the block."""
    command = [sys.executable, "-c", HOLD, str(directory), *(["patient"] if patient else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def has_its_turn(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"


def until_wanted(queue: Queue, *, by_watchers: bool = False) -> None:
    ends = time.monotonic() + 100
    while not queue.is_wanted(by_watchers=by_watchers):
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_it_is_waited_for_with_an_end(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        has_its_turn(process)
        with pytest.raises(TimedOut) as caught:
            Queue(str(tmp_path)).take(0.2)
        assert caught.value.code == "host-busy"
        process.kill()
        process.wait()
        Queue(str(tmp_path)).take(0)


def test_who_waits_is_seen(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    assert not queue.is_wanted()
    turn = queue.take(0)
    assert not queue.is_wanted(), "nobody waits behind the one whose turn it is"
    with other(tmp_path) as hasty:
        until_wanted(queue)
        assert not queue.is_wanted(by_watchers=True)
        hasty.kill()
        hasty.wait()
        assert not queue.is_wanted(), "the dead want nothing"
    with other(tmp_path, patient=True):
        until_wanted(queue, by_watchers=True)
        assert not queue.is_wanted()
    assert turn > 0


def test_those_in_haste_come_first(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    with other(tmp_path) as holder:
        has_its_turn(holder)
        with other(tmp_path, patient=True) as watcher, other(tmp_path) as hasty:
            until_wanted(queue)
            until_wanted(queue, by_watchers=True)
            holder.kill()
            has_its_turn(hasty)
            assert queue.is_wanted(by_watchers=True)
            hasty.kill()
            has_its_turn(watcher)


def test_a_wait_can_be_cancelled(tmp_path: Path) -> None:
    cancelled = threading.Event()

    def check() -> None:
        if cancelled.is_set():
            raise Interrupted("interrupted", "interrupted")

    with other(tmp_path) as process:
        has_its_turn(process)
        threading.Timer(0.2, cancelled.set).start()
        with pytest.raises(Interrupted):
            Queue(str(tmp_path)).take(1000, check=check)
