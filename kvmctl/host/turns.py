"""Taking turns on a directory that only one process at a time can work in: the embedded host's.

A turn is a lock that lasts until the process ends. Whoever waits for one shows it by holding a second lock, so that
a process which holds its turn for long can see it, end, and queue again. Those that only watch wait behind all others.
Locks go away with their process, however it ends, so nothing is ever left locked.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvmctl.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GLANCE = 0.02
"""How often a waiting process tries again, in seconds."""


class Queue:
    """The queue of one directory."""

    def __init__(self, directory: str) -> None:
        self._turn = os.path.join(directory, "turn.lock")
        self._in_haste = os.path.join(directory, "turn.waiting")
        self._patient = os.path.join(directory, "turn.watching")

    def take(self, limit: float, *, patient: bool = False, check: Callable[[], object] = lambda: None) -> int:
        """Wait for our turn; it is ours until the file descriptor returned is closed. `check` may raise meanwhile."""
        turn = _open(self._turn)
        try:
            if not (patient and self.is_wanted()) and _lock(turn):
                return turn
            ends = time.monotonic() + limit
            with _shown(self._patient if patient else self._in_haste):
                while not (not (patient and self.is_wanted()) and _lock(turn)):
                    check()
                    if time.monotonic() >= ends:
                        raise TimedOut(
                            "host-busy",
                            f"another kvmctl works on the embedded host, and did not finish within {limit:g} s",
                            hint="a longer wait: --timeout SECONDS",
                        )
                    time.sleep(GLANCE)
            return turn
        except BaseException:
            os.close(turn)
            raise

    def is_wanted(self, *, by_watchers: bool = False) -> bool:
        """True if somebody waits for a turn: somebody in haste, or with `by_watchers` one of those who watch."""
        file = _open(self._patient if by_watchers else self._in_haste)
        try:
            return not _lock(file)
        finally:
            os.close(file)


@contextmanager
def _shown(path: str) -> Iterator[None]:
    """Show that we wait: any number of processes can hold this lock together."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _lock(file: int) -> bool:
    """Take the lock if nobody has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
