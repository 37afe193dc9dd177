"""The terminal: raw and put back, and what a guest switched on in it switched off again."""

from __future__ import annotations

import os
import select
import signal
import termios
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.host.terminal import Screen, is_terminal, raw
from tests.person import Person


def test_raw_is_put_back() -> None:
    with Person() as person:
        before = person.modes
        with raw(person.terminal):
            assert person.is_raw
        assert person.modes == before


def test_raw_is_put_back_when_something_fails() -> None:
    with Person() as person:
        before = person.modes
        with pytest.raises(KeyboardInterrupt), raw(person.terminal):
            raise KeyboardInterrupt
        assert person.modes == before


def test_what_was_typed_for_the_guest_does_not_reach_the_shell() -> None:
    with Person() as person:
        with raw(person.terminal):
            person.type("rm -rf everything\n")
            assert select.select([person.terminal], [], [], 10)[0]
        person.type("next\n")
        assert os.read(person.terminal, 100) == b"next\n"


def test_a_shell_that_lets_us_go_on_may_have_changed_the_modes() -> None:
    with Person() as person:
        before: Any = person.modes
        with raw(person.terminal):
            termios.tcsetattr(person.terminal, termios.TCSANOW, before)
            os.kill(os.getpid(), signal.SIGCONT)
            assert person.is_raw
        assert person.modes == before


def test_what_is_no_terminal_is_left_alone() -> None:
    reader, writer = os.pipe()
    with raw(reader), raw(-1):
        os.write(writer, b"x")
    assert os.read(reader, 1) == b"x"
    assert not is_terminal(reader)
    assert not is_terminal(-1)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("output", "reset"),
    [
        (b"hello\n", b""),
        (b"\x1b[?1049h\n", b"\x1b[?1049l"),
        (b"\x1b[?1049h\x1b[?1049l\n", b""),
        (b"\x1b[?25l\n", b"\x1b[?25h"),
        (b"\x1b[?1000;1006h\n", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?9999h\n", b""),
        (b"\x1b[?2004h\x1b[31mred", b"\x1b[?2004l"),
    ],
)
def test_what_the_guest_switched_on_is_switched_off(output: bytes, reset: bytes) -> None:
    screen = Screen()
    screen.watch(output)
    newline = b"" if output.endswith(b"\n") else b"\r\n"
    assert screen.reset() == reset + b"\x1b[0m" + newline


PARTS = [b"\x1b[?25l", b"\x1b[?25h", b"\x1b[?1049h", b"\x1b[?1;1003h", b"\x1b[?1003l", b"text", b"\x1b"]


@given(st.lists(st.sampled_from(PARTS)), st.lists(st.integers(0, 60)))
def test_sequences_may_come_in_pieces(parts: list[bytes], cuts: list[int]) -> None:
    output = b"".join(parts)
    whole, pieces = Screen(), Screen()
    whole.watch(output)
    places = [0, *sorted(cut for cut in cuts if cut < len(output)), len(output)]
    for start, end in zip(places, places[1:], strict=False):
        if start != end:
            pieces.watch(output[start:end])
    assert pieces.changed == whole.changed
