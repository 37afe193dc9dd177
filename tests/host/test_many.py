"""Many questions to one host."""

from __future__ import annotations

import threading

import pytest

from kvmctl.errors import Refused
from kvmctl.host.many import AT_ONCE, ask


def test_answers_come_in_order_and_several_questions_are_on_their_way() -> None:
    meeting = threading.Barrier(AT_ONCE, timeout=100)

    def question(number: int) -> int:
        if number < AT_ONCE:
            meeting.wait()  # only ends if so many are asked at a time
        return number * 2

    assert ask(range(40), question) == [number * 2 for number in range(40)]


def test_one_question_needs_no_thread() -> None:
    assert ask(["one"], lambda thing: (thing, threading.current_thread())) == [("one", threading.current_thread())]
    assert ask([], str) == []


def test_the_first_error_is_raised() -> None:
    def question(number: int) -> int:
        if number > 2:
            raise Refused("not-supported", f"no {number}")
        return number

    with pytest.raises(Refused, match="no 3"):
        ask(range(9), question)
