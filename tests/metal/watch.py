"""Ends a metal machine that has stopped answering: whoever waits for it, in libvirt too, gets an error instead.

Its emulated processors stop now and then, all of them, for good; that is no fault of what is tested in it.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence

EVERY_SECONDS = 15.0
ANSWER_SECONDS = 120.0
"""Ten times what it takes at worst while other tests want the same processors."""


class Watch(threading.Thread):
    """Runs `commands` again and again; once one fails, or takes too long, `lost` is set and `end` is called."""

    def __init__(self, commands: Sequence[Sequence[str]], end: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._commands = commands
        self._end = end
        self._over = threading.Event()
        self.lost = False
        self.start()

    def run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            if not all(_answered(command) for command in self._commands) and not self._over.is_set():
                self.lost = True
                self._end()
                return

    def stop(self) -> None:
        """Nothing is looked at any more. A command that runs now is not waited for."""
        self._over.set()


def _answered(command: Sequence[str]) -> bool:
    silent = subprocess.DEVNULL
    try:
        done = subprocess.run(command, stdin=silent, stdout=silent, stderr=silent, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
