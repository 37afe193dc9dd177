"""A serial line over a stream, with a stream and a host made up: what becomes of it when the host misbehaves."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import pytest

from kvmctl.errors import HostUnreachable, Refused
from kvmctl.host import bounded, console_stream
from kvmctl.host.console_stream import MANY, StreamLine

LIMIT = 20.0


class Stream:
    """The guest's end: `says` what is to be read, `heard` what was sent."""

    def __init__(self) -> None:
        self.says: list[bytes] = []
        self.heard = b""
        self.callback: Callable[..., None] | None = None
        self.taken = 0

    def eventAddCallback(self, events: int, callback: Callable[..., None], opaque: object) -> None:  # noqa: N802
        self.callback = callback

    def eventRemoveCallback(self) -> None:  # noqa: N802
        self.callback = None

    def recv(self, size: int) -> bytes | int:
        if not self.says:
            return -2
        self.taken += len(self.says[0])
        return self.says.pop(0)

    def send(self, data: bytes) -> int:
        self.heard += data
        return len(data)

    def abort(self) -> None: ...

    def tell(self, *pieces: bytes) -> None:
        """As libvirt's event loop does."""
        self.says += pieces
        if self.callback:
            self.callback(self, 1, None)


class Connection:
    def __init__(self) -> None:
        self.alive = True
        self.answers = threading.Event()
        self.answers.set()
        self.now = [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
        self.number = 7

    def setKeepAlive(self, interval: int, count: int) -> None: ...  # noqa: N802

    def isAlive(self) -> bool:  # noqa: N802
        return self.alive

    def getLibVersion(self) -> int:  # noqa: N802
        self.answers.wait(LIMIT)
        return 9_000_000

    def lookupByUUID(self, uuid: bytes) -> Connection:  # noqa: N802
        return self

    # the same as a domain

    def ID(self) -> int:  # noqa: N802
        return self.number

    def state(self) -> list[int]:
        return self.now

    def UUID(self) -> bytes:  # noqa: N802
        return bytes(16)

    def name(self) -> str:
        return "web1"


class Domain(Connection):
    """The domain as it was when the line was opened."""


class Host:
    name = "host1"

    def __init__(self) -> None:
        self.conn: Any = Connection()


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    for name, seconds in {"GLANCE": 0.02, "SIGN_EVERY": 0.1, "ENDING_SECONDS": 0.6}.items():
        monkeypatch.setattr(console_stream, name, seconds)
    monkeypatch.setattr(bounded, "left_behind", threading.Event())
    made = Host()
    yield made
    made.conn.answers.set()


@pytest.fixture
def line(host: Host, stream: Stream) -> Iterator[StreamLine]:
    line = StreamLine(host, Domain(), stream)  # type: ignore[arg-type]
    yield line
    line.close()


def read(line: StreamLine) -> bytes:
    """What is to be read within the limit; nothing once the line is closed."""
    assert select.select([line.descriptor], [], [], LIMIT)[0], "nothing comes"
    return os.read(line.descriptor, 1 << 20)


def test_both_directions(line: StreamLine, stream: Stream) -> None:
    stream.tell(b"login: ")
    assert read(line) == b"login: "
    os.write(line.descriptor, b"root\n")
    ends = time.monotonic() + LIMIT
    while stream.heard != b"root\n":
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_last_words_come_before_the_end(line: StreamLine, stream: Stream, host: Host) -> None:
    host.conn.now = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
    stream.tell(b"Power ", b"down", b"")
    said = b""
    while piece := read(line):
        said += piece
    assert said == b"Power down"
    assert line.after_closing() == "ended: shut down"


def test_the_vm_was_started_again_meanwhile(line: StreamLine, stream: Stream, host: Host) -> None:
    host.conn.number = 8
    stream.tell(b"")
    assert read(line) == b""
    assert line.after_closing() == "ended, and was started again"


def test_the_vm_goes_on_so_somebody_else_has_the_line(line: StreamLine, stream: Stream) -> None:
    stream.tell(b"")
    assert read(line) == b""
    with pytest.raises(Refused, match="another client took its console over"):
        line.after_closing()


def test_a_connection_that_closes_is_noticed(line: StreamLine, stream: Stream, host: Host) -> None:
    stream.tell(b"last")
    host.conn.alive = False
    assert read(line) == b"last"
    assert read(line) == b""
    with pytest.raises(HostUnreachable, match="connection to the host was lost"):
        line.after_closing()


def test_a_host_that_falls_silent_is_lost(line: StreamLine, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_stream, "SILENT_SECONDS", 0.4)
    host.conn.answers.clear()
    assert read(line) == b""
    with pytest.raises(HostUnreachable):
        line.after_closing()
    assert bounded.left_behind.is_set(), "a call is still waiting"


def test_a_host_is_not_lost_while_the_guest_leaves_input_unread(
    line: StreamLine, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_stream, "SILENT_SECONDS", 2)
    host.conn.answers.clear()
    time.sleep(0.2)  # the question is on its way
    os.write(line.descriptor, b"x")
    assert not select.select([line.descriptor], [], [], 3)[0], "the line stays open"
    host.conn.answers.set()
    os.write(line.descriptor, b"y")


def tell_all(stream: Stream, pieces: list[bytes]) -> None:
    for piece in pieces:
        stream.tell(piece)


def test_a_slow_reader_makes_the_event_loop_wait(line: StreamLine, stream: Stream) -> None:
    pieces = [bytes(65536)] * (3 * MANY // 65536)
    told = threading.Thread(target=tell_all, args=(stream, pieces), daemon=True)
    told.start()
    time.sleep(0.5)
    assert told.is_alive()
    assert stream.taken < sum(map(len, pieces)), "not all of it is taken"
    seen = 0
    while seen < sum(map(len, pieces)):
        seen += len(read(line))
    told.join(LIMIT)
    assert not told.is_alive()


def test_leaving_does_not_wait_for_a_reader(host: Host, stream: Stream) -> None:
    line = StreamLine(host, Domain(), stream)  # type: ignore[arg-type]
    told = threading.Thread(target=tell_all, args=(stream, [bytes(65536)] * (3 * MANY // 65536)), daemon=True)
    told.start()
    time.sleep(0.2)
    began = time.monotonic()
    line.close()
    assert time.monotonic() - began < 10
    told.join(LIMIT)
    assert not told.is_alive()
