"""A person at a terminal: a pseudo-terminal for a command to run on, and what the person sees and types there."""

from __future__ import annotations

import os
import pty
import select
import termios
import time
from types import TracebackType

LIMIT = 100.0


class Person:
    """`terminal` is given to the command as its standard input, output and error; the rest is the person's."""

    def __init__(self) -> None:
        self.keyboard, self.terminal = pty.openpty()
        self.seen = b""

    def __enter__(self) -> Person:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in (self.keyboard, self.terminal):
            if descriptor >= 0:
                os.close(descriptor)
        self.keyboard = self.terminal = -1

    @property
    def modes(self) -> list[object]:
        """The terminal's modes, as the kernel has them now."""
        return list(termios.tcgetattr(self.terminal))

    @property
    def is_raw(self) -> bool:
        """True while every key goes through as it is, Ctrl-C included."""
        flags = termios.tcgetattr(self.terminal)[3]
        return not flags & (termios.ICANON | termios.ECHO | termios.ISIG)

    def type(self, text: str | bytes) -> None:
        os.write(self.keyboard, text.encode() if isinstance(text, str) else text)

    def look(self, seconds: float) -> bytes:
        """What is shown within so many seconds."""
        if select.select([self.keyboard], [], [], seconds)[0]:
            self.seen += os.read(self.keyboard, 65536)
        return self.seen

    def sees(self, text: str | bytes, *, seconds: float = LIMIT) -> None:
        """Come back when the text was shown; it is then forgotten, and all before it."""
        wanted = text.encode() if isinstance(text, str) else text
        ends = time.monotonic() + seconds
        while wanted not in self.seen:
            assert time.monotonic() < ends, f"{wanted!r} was not shown, but {self.seen!r}"
            self.look(0.1)
        self.seen = self.seen.partition(wanted)[2]

    def waits_until_raw(self, *, seconds: float = LIMIT) -> None:
        ends = time.monotonic() + seconds
        while not self.is_raw:
            assert time.monotonic() < ends, f"the terminal was not made raw; it showed {self.seen!r}"
            self.look(0.02)
