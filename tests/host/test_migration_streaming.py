"""Checksums of files that differ in their holes alone, and files passed on with their holes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kvmctl.errors import Interrupted
from kvmctl.host.migration import streaming
from kvmctl.host.migration.streaming import BLOCK, HOLE
from kvmctl.parallel import Work

Piece = bytes | int


class Stream:
    """What libvirt's stream does: gives data and holes, or takes them."""

    def __init__(self, pieces: list[Piece] | None = None) -> None:
        self.pieces = list(pieces or [])
        self.ended = ""

    def recvFlags(self, size: int, flags: int) -> bytes | int:  # noqa: N802 - libvirt's name
        if not self.pieces:
            return b""
        piece = self.pieces[0]
        return HOLE if isinstance(piece, int) else bytes(self.pieces.pop(0))

    def recvHole(self) -> Piece:  # noqa: N802
        return self.pieces.pop(0)

    def send(self, data: bytes) -> int:
        taken = data[: max(1, len(data) // 2)]
        self.pieces.append(taken)
        return len(taken)

    def sendHole(self, length: int) -> None:  # noqa: N802
        self.pieces.append(length)

    def finish(self) -> None:
        self.ended = "finished"

    def abort(self) -> None:
        self.ended = "aborted"


def work() -> Work:
    return Work(30, threading.Event())


def plain(pieces: list[Piece]) -> bytes:
    return b"".join(bytes(piece) if isinstance(piece, int) else piece for piece in pieces)


def digest(pieces: list[Piece]) -> str:
    stream: Any = Stream(pieces)
    found = streaming.digest(stream, work())
    assert stream.ended == "finished"
    return found


LENGTH = some.sampled_from([1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
PIECES = some.lists(some.tuples(some.booleans(), some.booleans(), LENGTH), max_size=8)


@given(PIECES, some.integers(0, 2**16))
def test_holes_and_zeros_are_the_same(shape: list[tuple[bool, bool, int]], at: int) -> None:
    pieces: list[Piece] = [length if hole else (b"\0" if zero else b"x") * length for hole, zero, length in shape]
    whole = plain(pieces)
    assert digest(pieces) == digest([whole] if whole else [])
    if whole:
        at %= len(whole)
        other = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        assert digest(pieces) != digest([other])
        assert digest(pieces) != digest([whole, b"\0"])


def test_what_comes_is_passed_on() -> None:
    pieces: list[Piece] = [b"abc", 7 * BLOCK, b"def", 5]
    incoming: Any = Stream(pieces)
    outgoing: Any = Stream()
    heard: list[int] = []
    streaming.pump(incoming, outgoing, work=work(), hear=heard.append)
    assert plain(outgoing.pieces) == plain(pieces)
    assert [piece for piece in outgoing.pieces if isinstance(piece, int)] == [7 * BLOCK, 5]
    assert sum(heard) == len(plain(pieces))
    assert (incoming.ended, outgoing.ended) == ("finished", "finished")


def test_an_interrupt_ends_both() -> None:
    incoming: Any = Stream([b"abc", b"def"])
    outgoing: Any = Stream()
    own = work()
    hear: Callable[[int], None] = lambda length: own.cancelled.set()  # noqa: E731
    with pytest.raises(Interrupted):
        streaming.pump(incoming, outgoing, work=own, hear=hear)
    assert (incoming.ended, outgoing.ended) == ("aborted", "aborted")
    assert plain(outgoing.pieces) == b"abc"
