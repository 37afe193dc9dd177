"""The way of libvirt's calls from one host to another, on which they can be caught by number: before, or when answered.

A Wire listens on an address inside a host's network and passes everything on to a libvirtd. A trap waits for one
procedure and then does whatever a test wants: cut the connection, fall silent, or kill something while the call waits.
It runs in threads of the test, which for that join the host's network. A trap works once; then all goes through.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

REMOTE = 0x20008086
"""libvirt's program for calls; there is another for messages that only show that one is there."""
BEGIN, PREPARE, PERFORM, FINISH, CONFIRM = 302, 303, 305, 306, 307
"""The calls of a migration. In peer-to-peer mode the client makes Perform alone, and the source the next ones."""
CALL, REPLY = 0, 1
HEADER = struct.Struct(">IIIIII")
CLONE_NEWNET = 0x40000000

When = Literal["before", "after"]


class Line:
    """One connection that goes through."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.silent = threading.Event()
        self.caught: dict[int, Trap] = {}
        """Traps that wait for a reply, by the number of the message."""

    def cut(self) -> None:
        """End it at once, without a word."""
        for end in (self.near, self.far):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def hold(self) -> None:
        """Let nothing through any more, and leave it open: only who waits for a sign of life notices."""
        self.silent.set()


Deed = Callable[[Line], object]


class Trap:
    def __init__(self, procedure: int, when: When, deed: Deed) -> None:
        self.procedure, self.when, self.deed = procedure, when, deed


class Wire:
    """`listen` is an address of the host whose network is that of `pid`; `goal` is where libvirtd listens.

    Only while `armed` says so do traps work: the same procedures are called to look at a host, too.
    """

    def __init__(
        self, pid: int, listen: tuple[str, int], goal: tuple[str, int], *, armed: Callable[[], bool] = lambda: True
    ) -> None:
        self.pid, self.goal, self.armed = pid, goal, armed
        self.traps: list[Trap] = []
        self.seen: list[int] = []
        """The procedures called, in order."""
        self.lines: list[Line] = []
        ready: list[socket.socket] = []
        problems: list[OSError] = []
        opened = threading.Event()

        def serve() -> None:
            try:
                self._join()
                ready.append(socket.create_server(listen))
            except OSError as problem:
                problems.append(problem)
            opened.set()
            with suppress(OSError):  # the listener was closed
                while ready:
                    near, _ = ready[0].accept()
                    # A new thread has the network of the one that starts it.
                    threading.Thread(target=self._connect, args=(near,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        opened.wait()
        if problems:
            raise problems[0]
        self.listener = ready[0]

    def trap(self, procedure: int, when: When, deed: Deed) -> None:
        """Do something when the procedure is called (`before` it goes out, or `after` its answer is there)."""
        self.traps.append(Trap(procedure, when, deed))

    def clear(self) -> None:
        """Forget the traps, and end what is left of old connections."""
        self.traps.clear()
        self.seen.clear()
        for line in self.lines:
            line.cut()
        self.lines.clear()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.clear()

    # -- below ------------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        """Have this thread in the network of the host."""
        with open(f"/proc/{self.pid}/ns/net", "rb") as space:
            if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self.goal, timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        line = Line(near, far)
        self.lines.append(line)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._carry, args=(line, near, far, CALL), daemon=True).start()
        self._carry(line, far, near, REPLY)

    def _carry(self, line: Line, source: socket.socket, sink: socket.socket, kind: int) -> None:
        with suppress(OSError, ValueError):
            for frame in frames(source):
                if line.silent.is_set():
                    continue
                self._spring(line, frame, kind)
                if not line.silent.is_set():
                    sink.sendall(frame)
        if not line.silent.is_set():
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _spring(self, line: Line, frame: bytes, kind: int) -> None:
        program, _, procedure, is_kind, serial, _ = HEADER.unpack_from(frame, 4)
        if program != REMOTE or is_kind != kind:
            return
        if kind == REPLY:
            trap = line.caught.pop(serial, None)
        else:
            self.seen.append(procedure)
            trap = next((one for one in self.traps if one.procedure == procedure), None)
            if trap is not None and not self.armed():
                return
            if trap is not None:
                self.traps.remove(trap)
                if trap.when == "after":
                    line.caught[serial] = trap
                    return
        if trap is not None:
            trap.deed(line)


def frames(source: socket.socket) -> Iterator[bytes]:
    """The messages that come in, whole. Ends with the connection."""
    while True:
        head = _exactly(source, 4)
        yield head + _exactly(source, struct.unpack(">I", head)[0] - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise OSError("the connection has ended")
        data += more
    return data
