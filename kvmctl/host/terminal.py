"""The person's terminal: raw while a console has it, and put back on every way out. Knows nothing of VMs.

`raw()` changes the terminal's modes and puts them back; what was typed and not yet read is thrown away then, so that
the rest of a paste meant for a guest never lands in a shell. `Screen` watches what the guest switches on with escape
sequences (another screen, mouse reports, a hidden cursor) and knows how to switch it off again.
"""

from __future__ import annotations

import os
import re
import signal
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

ESCAPE = 0x1D
"""The byte that leaves a console: ^]."""

USUAL = {b"25": b"h", b"7": b"h"}
"""Private modes that are on in a terminal nobody has touched; all others are off."""

RESETTABLE = frozenset(b"1 7 25 47 66 1000 1002 1003 1004 1005 1006 1015 1047 1049 2004".split())
"""Private modes that are put back: cursor keys, wrapping, cursor, keypad, mouse, other screen, bracketed paste."""

MODE = re.compile(rb"\x1b\[\?([0-9;]{1,40})([hl])")
LONGEST = 48


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Hand every key through as it is while the block runs; does nothing when that is no terminal, or -1."""
    try:
        before = termios.tcgetattr(descriptor)
    except (termios.error, ValueError):
        yield
        return

    def again(number: int, frame: FrameType | None) -> None:
        with suppress(termios.error):
            tty.setraw(descriptor, termios.TCSADRAIN)

    # A shell that stopped us and lets us go on has set the modes that it likes.
    with handled({signal.SIGCONT: again}):
        try:
            tty.setraw(descriptor, termios.TCSADRAIN)
            yield
        finally:
            with suppress(termios.error):  # the terminal itself may be gone
                termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


@contextmanager
def handled(handlers: Mapping[signal.Signals, signal._HANDLER]) -> Iterator[None]:
    """These signal handlers while the block runs, and the ones from before after it."""
    before: dict[signal.Signals, signal._HANDLER] = {}
    try:
        for number, handler in handlers.items():
            with suppress(ValueError):  # outside of the main thread there are no handlers
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Screen:
    """What the guest has switched on in the terminal, read from its output as it passes."""

    def __init__(self) -> None:
        self.changed: dict[bytes, bytes] = {}
        self.rest = b""
        self.within_line = False

    def watch(self, output: bytes) -> None:
        """Take note of a piece of output; a sequence may be cut in two by the pieces."""
        self.within_line = not output.endswith(b"\n")
        text = self.rest + output
        end = 0
        for found in MODE.finditer(text):
            end = found.end()
            for mode in found[1].split(b";"):
                if mode in RESETTABLE and found[2] != USUAL.get(mode, b"l"):
                    self.changed[mode] = found[2]
                else:
                    self.changed.pop(mode, None)
        tail = text[end:]
        start = tail.rfind(b"\x1b", -LONGEST)
        self.rest = tail[start:] if start >= 0 else b""

    def reset(self) -> bytes:
        """What brings the terminal back: the modes that differ, plain letters, and a line of our own."""
        switched = b"".join(b"\x1b[?" + mode + USUAL.get(mode, b"l") for mode in self.changed)
        return switched + b"\x1b[0m" + (b"\r\n" if self.within_line else b"")


def is_terminal(descriptor: int | None) -> bool:
    return descriptor is not None and os.isatty(descriptor)
