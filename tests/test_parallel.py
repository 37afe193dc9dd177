"""Several things at once: results in order, limits kept, nothing lost when interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from kvmctl import parallel
from kvmctl.errors import Interrupted, NotFound, TimedOut
from kvmctl.parallel import Outcome, Work


def test_outcomes_come_in_the_order_given_whatever_finishes_first() -> None:
    finished: list[int] = []

    def slow_first(number: int, work: Work) -> int:
        time.sleep(0.2 if number == 0 else 0)
        if number == 1:
            raise NotFound("vm-not-found", "none")
        return number * 10

    outcomes, left = parallel.run(
        [0, 1, 2], slow_first, limit=100, on_finish=lambda outcome: finished.append(outcome.thing)
    )
    assert [outcome.value for outcome in outcomes] == [0, None, 20]
    assert isinstance(outcomes[1].error, NotFound)
    assert finished[-1] == 0
    assert not left


def test_they_run_at_the_same_time_but_not_all_of_them() -> None:
    now = most = 0
    lock = threading.Lock()
    four = threading.Barrier(4, timeout=100)

    def count(number: int, work: Work) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        four.wait()
        with lock:
            now -= 1

    outcomes, _ = parallel.run(range(20), count, limit=200, at_once=4)
    assert not [outcome.error for outcome in outcomes if outcome.error]
    assert most == 4


def test_work_that_asks_is_told_when_its_time_is_over() -> None:
    def patient(number: int, work: Work) -> None:
        while True:
            work.check()
            time.sleep(0.01)

    outcomes, left = parallel.run([1], patient, limit=0.1)
    assert isinstance(outcomes[0].error, TimedOut)
    assert not left


def test_work_that_hangs_is_left_behind() -> None:
    release = threading.Event()
    outcomes, left = parallel.run([1, 2], lambda number, work: number == 1 or release.wait(100), limit=2, grace=0.1)
    release.set()
    assert outcomes[0].value is True
    assert isinstance(outcomes[1].error, TimedOut)
    assert left


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_an_interrupt_stops_the_work_and_waits_until_it_is_undone(number: signal.Signals) -> None:
    undone = threading.Event()

    def careful(thing: int, work: Work) -> None:
        os.kill(os.getpid(), number)
        try:
            while True:
                work.check()
                time.sleep(0.01)
        finally:
            time.sleep(0.1)
            undone.set()

    with pytest.raises(Interrupted, match="undone"):
        parallel.run([1], careful, limit=100)
    assert undone.is_set()


def test_what_was_done_before_an_interrupt_is_not_called_interrupted() -> None:
    seen: list[Outcome[int, int]] = []

    def done(thing: int, work: Work) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return thing

    outcomes, _ = parallel.run([7], done, limit=5, on_finish=seen.append)
    assert [outcome.value for outcome in outcomes] == [7]
    assert seen == outcomes


def test_what_has_not_begun_is_not_begun_after_an_interrupt() -> None:
    begun: list[int] = []

    def first(thing: int, work: Work) -> None:
        begun.append(thing)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    with pytest.raises(Interrupted):
        parallel.run([1, 2, 3], first, limit=5, at_once=1)
    assert begun == [1]


def test_a_second_interrupt_ends_the_wait() -> None:
    release = threading.Event()

    def stubborn(thing: int, work: Work) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        work.cancelled.wait()
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(10)

    began = time.monotonic()
    with pytest.raises(Interrupted):
        parallel.run([1], stubborn, limit=10)
    assert time.monotonic() - began < 20
    release.set()
