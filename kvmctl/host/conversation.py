"""A person (or a script) and a serial line talk: bytes from the keyboard to the line, from the line to the screen.

Works on file descriptors alone, in one thread, with `poll`. Nothing is lost and nothing piles up: a screen that is slow
makes the line wait, and the guest behind it. It opens nothing, prints nothing of its own and knows no VM.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from kvmctl.host.terminal import ESCAPE, Screen, handled, is_terminal, raw

if TYPE_CHECKING:
    from types import FrameType

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
TAKEN_OVER = signal.SIGUSR1
"""What another kvmctl sends that takes the console by force."""

CHUNK = 65536
PIECE = 4096
"""As much as a pipe takes without making us wait, once it says that it is ready (PIPE_BUF)."""
MANY = 4 * CHUNK
"""More than this waiting for the screen, and the line is not read; for the line, and a script is not read."""
UNREAD_SECONDS = 30.0
"""How long a guest may leave unread what a script sends."""

IN, OUT = select.POLLIN, select.POLLOUT
GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Ending:
    """How a conversation ended: `why` is one of the constants; `signal` is the number if one ended it."""

    LEFT = "left"
    LINE_CLOSED = "line-closed"
    INPUT_ENDED = "input-ended"
    INPUT_UNREAD = "input-unread"
    SCREEN_CLOSED = "screen-closed"
    TIME_OVER = "time-over"
    TAKEN_OVER = "taken-over"
    SIGNALLED = "signalled"

    def __init__(self, why: str, number: int = 0) -> None:
        self.why = why
        self.signal = number


def descriptors() -> tuple[int, int]:
    """Keyboard and screen: our standard input, -1 if it is closed, and our standard output."""
    try:
        os.fstat(0)
    except OSError:
        return -1, 1
    return 0, 1


def end_by(number: int) -> None:
    """End this process by the signal that ended the conversation, so that whoever sent it sees that it did."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class Conversation:
    """One conversation over `line`, which does not block.

    A keyboard that is a terminal is made raw, and ^] on it leaves. Where the keyboard is a pipe or a file, its end ends
    the conversation once the line has been quiet for `linger` seconds. `limit` bounds it all. A keyboard of -1 is none.
    """

    def __init__(self, line: int, *, keyboard: int, screen: int, linger: float, limit: float | None) -> None:
        self.line = line
        self.keyboard = keyboard
        self.screen = screen
        self.linger = linger
        self.terminal = is_terminal(keyboard)
        self.watched = Screen() if is_terminal(screen) else None
        self.piece = CHUNK if stat.S_ISREG(os.fstat(screen).st_mode) else PIECE
        self.to_line = bytearray()
        self.to_screen = bytearray()
        self.line_closed = False
        self.line_deaf = False
        self.ending: Ending | None = None
        self.last_moved = time.monotonic()
        self.ends = self.last_moved + limit if limit else inf

    def run(self) -> Ending:
        """Talk until one side ends it; the terminal is as before when this returns or raises."""
        waker, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.ending = Ending(Ending.TAKEN_OVER if number == TAKEN_OVER else Ending.SIGNALLED, number)
            with suppress(BlockingIOError):
                os.write(wake, b"!")

        handlers = dict.fromkeys((*ENDING_SIGNALS, TAKEN_OVER), on_signal)
        try:
            with handled(handlers), raw(self.keyboard if self.terminal else -1):
                try:
                    while self.ending is None:
                        self._step(waker)
                        self._judge()
                finally:
                    self._leave_screen()
            return self.ending
        finally:
            os.close(waker)
            os.close(wake)

    # -- one turn -----------------------------------------------------------------------------------

    def _step(self, waker: int) -> None:
        """Wait until somebody can be served, and serve all who can."""
        wanted = self._wanted()
        poller = select.poll()
        for descriptor, events in {waker: IN, **wanted}.items():
            poller.register(descriptor, events)
        ready = dict(poller.poll(self._patience()))
        if wanted.get(self.keyboard, 0) & IN and ready.get(self.keyboard, 0) & (IN | GONE):
            self._read_keyboard()
        if wanted.get(self.line, 0) & OUT and ready.get(self.line, 0) & (OUT | GONE):
            self._write_line()
        if wanted.get(self.line, 0) & IN and ready.get(self.line, 0) & (IN | GONE):
            self._read_line()
        if ready.get(self.screen, 0) & GONE:
            self.ending = self.ending or Ending(Ending.SCREEN_CLOSED)
        elif ready.get(self.screen, 0) & OUT and self.to_screen:
            self._write_screen()

    def _wanted(self) -> dict[int, int]:
        """The events to wait for. The screen is always among them, since it tells when nobody reads any more."""
        wanted = {self.screen: OUT if self.to_screen else 0}
        to_write = OUT if self.to_line and not self.line_deaf else 0
        to_read = IN if len(self.to_screen) < MANY else 0
        if (to_read or to_write) and not self.line_closed:
            wanted[self.line] = to_read | to_write
        if self.keyboard >= 0 and (self.terminal or len(self.to_line) < MANY):
            # A terminal is always listened to, or ^] would go unheard while the guest does not listen.
            wanted[self.keyboard] = wanted.get(self.keyboard, 0) | IN
        return wanted

    def _patience(self) -> float | None:
        """Milliseconds until a time limit must be looked at."""
        ends = min(self.ends, self._quiet_ends())
        return max(0.0, (ends - time.monotonic()) * 1000 + 1) if ends < inf else None

    def _quiet_ends(self) -> float:
        """When there is nothing to stay for any more, if nothing moves until then."""
        if self._unread() and not self.terminal:
            return self.last_moved + max(self.linger, UNREAD_SECONDS)
        return self.last_moved + self.linger if self.keyboard < 0 else inf

    def _unread(self) -> bool:
        """True while the guest has not taken all that was said to it."""
        return bool(self.to_line) and not self.line_deaf

    def _judge(self) -> None:
        """End it if it is over; what ended it already stands."""
        if self.ending:
            return
        now = time.monotonic()
        if self.line_closed and not self.to_screen:
            self.ending = Ending(Ending.LINE_CLOSED)
        elif now >= self.ends:
            self.ending = Ending(Ending.TIME_OVER)
        elif not self.to_screen and now >= self._quiet_ends():
            self.ending = Ending(Ending.INPUT_UNREAD if self._unread() else Ending.INPUT_ENDED)

    # -- the four ways a byte goes ------------------------------------------------------------------

    def _read_keyboard(self) -> None:
        try:
            typed = os.read(self.keyboard, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            typed = b""
        if not typed:
            self.keyboard = -1
            self.last_moved = time.monotonic()
            if self.terminal:  # the window was closed
                self.ending = Ending(Ending.SCREEN_CLOSED)
            return
        if self.terminal and (place := typed.find(ESCAPE)) >= 0:
            typed = typed[:place]
            self.ending = Ending(Ending.LEFT)
        self.to_line += typed
        self._write_line()

    def _write_line(self) -> None:
        try:
            while self.to_line and not self.line_deaf:
                written = os.write(self.line, self.to_line[:PIECE])
                del self.to_line[:written]
                self.last_moved = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            # Nobody takes it any more; what the guest said before that is still to be read.
            self.line_deaf = True

    def _read_line(self) -> None:
        try:
            said = os.read(self.line, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # a pseudo-terminal whose other side is closed says EIO
            said = b""
        if not said:
            self.line_closed = True
            return
        self.last_moved = time.monotonic()
        if self.watched:
            self.watched.watch(said)
        self.to_screen += said

    def _write_screen(self) -> None:
        try:
            written = os.write(self.screen, self.to_screen[: self.piece])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.ending = Ending(Ending.SCREEN_CLOSED)
            return
        del self.to_screen[:written]
        self.last_moved = time.monotonic()

    def _leave_screen(self) -> None:
        """Switch off what the guest has switched on in the terminal."""
        if self.watched:
            with suppress(OSError):
                os.write(self.screen, self.watched.reset())
