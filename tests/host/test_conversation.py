"""A conversation over a line that is a socket here: nothing is lost, and it ends when and as it should."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from kvmctl.host.conversation import MANY, Conversation, Ending
from tests.environment import ROOT
from tests.person import Person

LIMIT = 100.0


class Talk:
    """A conversation in a thread: `guest` is the far end of the line."""

    def __init__(self) -> None:
        self.guest, self.line = socket.socketpair()
        self.line.setblocking(False)
        self.guest.settimeout(LIMIT)
        self.ending: Ending | None = None
        self.thread: threading.Thread | None = None

    def start(self, *, keyboard: int, screen: int, linger: float = LIMIT, limit: float | None = None) -> None:
        conversation = Conversation(self.line.fileno(), keyboard=keyboard, screen=screen, linger=linger, limit=limit)

        def run() -> None:
            self.ending = conversation.run()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def end(self) -> str:
        """Why it ended."""
        assert self.thread is not None
        self.thread.join(LIMIT)
        assert self.ending is not None, "it goes on"
        return self.ending.why

    def hear(self, length: int) -> bytes:
        """What the guest gets, until it is so much."""
        heard = b""
        while len(heard) < length:
            heard += self.guest.recv(65536)
        return heard


@pytest.fixture
def talk() -> Iterator[Talk]:
    talk = Talk()
    yield talk
    talk.guest.close()
    if talk.thread:
        talk.thread.join(LIMIT)
    talk.line.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):  # the test did
            os.close(descriptor)


def test_a_person_talks_and_leaves(talk: Talk) -> None:
    with Person() as person:
        before = person.modes
        talk.start(keyboard=person.terminal, screen=person.terminal)
        person.waits_until_raw()
        person.type(b"ls\x03\n")
        assert talk.hear(4) == b"ls\x03\n"
        talk.guest.sendall(b"file\r\n")
        person.sees("file\r\n")
        person.type(b"last\x1drest")
        assert talk.end() == Ending.LEFT
        assert talk.hear(4) == b"last"
        assert person.modes == before


def test_leaving_works_while_the_guest_does_not_listen(talk: Talk) -> None:
    with Person() as person:
        talk.start(keyboard=person.terminal, screen=person.terminal)
        person.waits_until_raw()
        os.set_blocking(person.keyboard, False)
        for _ in range(2000):
            try:
                person.type(b"x" * 1024)
            except BlockingIOError:
                time.sleep(0.001)
        os.set_blocking(person.keyboard, True)
        person.type(b"\x1d")
        assert talk.end() == Ending.LEFT


def test_the_window_is_closed(talk: Talk) -> None:
    person = Person()
    with person:
        talk.start(keyboard=person.terminal, screen=person.terminal)
        person.waits_until_raw()
        os.close(person.keyboard)
        person.keyboard = -1
        assert talk.end() == Ending.SCREEN_CLOSED


def test_a_script_sees_the_answer(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    talk.start(keyboard=pipe[0], screen=writer, linger=3)
    os.write(pipe[1], b"uptime\n")
    os.close(pipe[1])
    assert talk.hear(7) == b"uptime\n"
    time.sleep(0.3)
    talk.guest.sendall(b"up ")
    time.sleep(0.3)
    talk.guest.sendall(b"1 day\n")
    began = time.monotonic()
    assert talk.end() == Ending.INPUT_ENDED
    assert time.monotonic() - began > 2
    assert os.read(reader, 100) == b"up 1 day\n"
    os.close(reader)
    os.close(writer)


def test_no_keyboard_at_all_is_an_ended_one(talk: Talk, pipe: tuple[int, int]) -> None:
    talk.start(keyboard=-1, screen=pipe[1], linger=0.2)
    assert talk.end() == Ending.INPUT_ENDED


def test_control_right_bracket_from_a_script_is_for_the_guest(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    talk.start(keyboard=pipe[0], screen=writer)
    os.write(pipe[1], b"a\x1db")
    assert talk.hear(3) == b"a\x1db"
    talk.guest.close()
    assert talk.end() == Ending.LINE_CLOSED
    os.close(reader)
    os.close(writer)


def test_the_guest_ends_and_its_last_words_are_seen(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    talk.start(keyboard=pipe[0], screen=writer)
    talk.guest.sendall(b"Power down\r\n")
    talk.guest.close()
    assert talk.end() == Ending.LINE_CLOSED
    assert os.read(reader, 100) == b"Power down\r\n"
    os.close(reader)
    os.close(writer)


def test_last_words_are_seen_even_if_the_guest_left_input_unread(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    talk.guest.shutdown(socket.SHUT_RD)
    talk.guest.sendall(b"bye")
    talk.start(keyboard=pipe[0], screen=writer)
    os.write(pipe[1], b"anybody?\n")
    time.sleep(0.1)
    talk.guest.close()
    assert talk.end() == Ending.LINE_CLOSED
    assert os.read(reader, 100) == b"bye"
    os.close(reader)
    os.close(writer)


def test_much_output_to_a_slow_screen_is_not_lost_and_not_piled_up(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    said = random.Random(7).randbytes(8 * MANY)
    talk.start(keyboard=pipe[0], screen=writer)
    sent = 0

    def say() -> None:
        nonlocal sent
        while sent < len(said):
            sent += talk.guest.send(said[sent : sent + 65536])
        talk.guest.close()

    threading.Thread(target=say, daemon=True).start()
    time.sleep(0.5)
    assert sent < len(said), "the guest has to wait while nobody reads"
    seen = b""
    while len(seen) < len(said):
        seen += os.read(reader, 65536)
    assert seen == said
    assert talk.end() == Ending.LINE_CLOSED
    os.close(reader)
    os.close(writer)


def test_a_big_paste_reaches_a_slow_guest(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    pasted = random.Random(8).randbytes(6 * MANY)
    talk.start(keyboard=reader, screen=pipe[1], linger=0.2)

    def paste() -> None:
        view = memoryview(pasted)
        while view:
            view = view[os.write(writer, view[:65536]) :]
        os.close(writer)

    threading.Thread(target=paste, daemon=True).start()
    heard = b""
    while len(heard) < len(pasted):
        heard += talk.guest.recv(8192)
        if random.random() < 0.02:
            time.sleep(0.01)
    assert heard == pasted
    assert talk.end() == Ending.INPUT_ENDED
    os.close(reader)


def test_input_that_is_never_read_ends_it_and_is_told(
    talk: Talk, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvmctl.host.conversation.UNREAD_SECONDS", 0.3)
    reader, writer = os.pipe()
    talk.start(keyboard=reader, screen=pipe[1], linger=0.1)
    os.set_blocking(writer, False)
    ends = time.monotonic() + LIMIT
    while talk.ending is None and time.monotonic() < ends:
        with suppress(BlockingIOError):
            os.write(writer, bytes(65536))
        time.sleep(0.001)
    assert talk.end() == Ending.INPUT_UNREAD
    os.close(reader)
    os.close(writer)


def test_nobody_reads_the_answer_any_more(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    talk.start(keyboard=pipe[0], screen=writer)
    os.close(reader)
    assert talk.end() == Ending.SCREEN_CLOSED
    os.close(writer)


def test_the_time_limit_ends_it(talk: Talk, pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    talk.start(keyboard=pipe[0], screen=writer, limit=0.3)
    assert talk.end() == Ending.TIME_OVER
    os.close(reader)
    os.close(writer)


PROGRAM = """
import sys
from kvmctl.host.conversation import Conversation, end_by
line = int(sys.argv[1])
ending = Conversation(line, keyboard=0, screen=1, linger=60, limit=60).run()
print("ending", ending.why, file=sys.stderr)
if ending.signal and ending.why == "signalled":
    end_by(ending.signal)
"""


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGTERM, Ending.SIGNALLED),
        (signal.SIGHUP, Ending.SIGNALLED),
        (signal.SIGUSR1, Ending.TAKEN_OVER),
    ],
)
def test_signals_put_the_terminal_back(talk: Talk, number: signal.Signals, why: str) -> None:
    with Person() as person:
        before = person.modes
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(talk.line.fileno())],
            stdin=person.terminal,
            stdout=person.terminal,
            stderr=subprocess.PIPE,
            pass_fds=[talk.line.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        person.waits_until_raw()
        process.send_signal(signal.SIGWINCH)
        talk.guest.sendall(b"\x1b[?1049hfull screen")
        person.sees("full screen")
        process.send_signal(number)
        _, said = process.communicate(timeout=LIMIT)
        assert said.decode().split() == ["ending", why]
        assert process.returncode == (-number if why == Ending.SIGNALLED else 0)
        assert person.modes == before
        person.sees("\x1b[?1049l")
