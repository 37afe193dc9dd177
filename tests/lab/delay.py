"""A distant host, made of a near one: a TCP port that passes everything on to a Unix socket, later.

`with delayed(socket_path, 0.020) as port` has a round trip of 20 ms over `qemu+tcp://127.0.0.1:port/system`.
It runs in threads of the test or measurement, and ends with it.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def delayed(target: Path, round_trip: float) -> Iterator[int]:
    """Listen on a free port of 127.0.0.1; half of `round_trip` is spent on each way."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                near, _ = listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(target))
                _carry(near, far, round_trip / 2)
                _carry(far, near, round_trip / 2)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _carry(source: socket.socket, sink: socket.socket, delay: float) -> None:
    """What arrives at `source` leaves by `sink` that much later, in order; so does the end."""
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def receive() -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(1 << 18)
            except OSError:
                data = b""
            under_way.put((time.monotonic() + delay, data))

    def send() -> None:
        with sink:
            while True:
                due, data = under_way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    if not data:
                        sink.shutdown(socket.SHUT_RDWR)
                        return
                    sink.sendall(data)
                except OSError:
                    return

    for work in (receive, send):
        threading.Thread(target=work, daemon=True).start()
