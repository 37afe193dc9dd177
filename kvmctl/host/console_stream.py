"""A serial line over a libvirt stream, made into a file descriptor by two threads: one for each direction.

The stream blocks, and no event loop reads behind our back: what the person's side does not take in time stays on the
host, and the guest waits, so nothing is lost and nothing piles up. There is no keepalive without the event loop;
a third thread asks the host for a sign of life instead. A host that reads no more input (the guest does not
listen) answers nothing else either, so silence counts only while nothing was sent.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from kvmctl.errors import HostUnreachable, KvmctlError
from kvmctl.host import bounded, messages, states
from kvmctl.host.connection import translated
from kvmctl.host.console import Line, taken_over
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from kvmctl.host.connection import Host

CHUNK = 65536
PIECE = 4096
"""Input goes in small pieces: what a guest leaves unread then stays with us, and little is under way."""
CLOSE_SECONDS = 2.0
SIGN_EVERY = 10.0
SILENT_SECONDS = 20.0
"""A host that answers nothing for this long is lost."""
ANSWER_SECONDS = 5.0
ENDING_SECONDS = 3.0
"""A line closes a moment before libvirt knows that the VM has ended."""


class StreamLine(Line):
    """The stream's other end is a socket, so that it can be waited for together with keyboard and screen."""

    def __init__(self, host: Host, domain: libvirt.virDomain, stream: libvirt.virStream) -> None:
        self.host = host
        self.domain = domain
        self.stream = stream
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        # What the host does not take yet is to stay where the conversation sees it.
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
        super().__init__(domain.name(), self.near.fileno())
        self.problem: KvmctlError | None = None
        self.sent = 0
        self.over = threading.Event()
        for work in (self._from_guest, self._to_guest, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Leave the line. A host that does not listen any more is not waited for."""
        self.over.set()
        self._hang_up()
        with suppress(libvirt.libvirtError, TimeoutError):
            bounded.call(self.stream.abort, CLOSE_SECONDS)
        self.near.close()

    def after_closing(self) -> str:
        if isinstance(self.problem, HostUnreachable):
            raise self.problem
        try:
            ended = bounded.call(self._what_became, ANSWER_SECONDS + ENDING_SECONDS)
        except TimeoutError:
            raise messages.lost(self.host.name) from None
        if ended:
            return ended
        raise taken_over(self.vm)

    def _what_became(self) -> str:
        """How the VM ended; nothing if it goes on."""
        number = self.domain.ID()
        ends = time.monotonic() + (ENDING_SECONDS / 6 if self.problem else ENDING_SECONDS)
        while True:
            try:
                now = self.host.conn.lookupByUUID(self.domain.UUID())
                state, reason = now.state()
            except libvirt.libvirtError as problem:
                if problem.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return "ended"
                with translated(vm=self.vm, host=self.host.name):
                    raise
            word, why = states.words(state, reason)
            if word in states.OFF or word == states.CRASHED:
                return f"ended: {why}" if why else "ended"
            if now.ID() != number:
                return "ended, and was started again"
            if time.monotonic() >= ends:
                return ""
            time.sleep(0.1)

    # -- threads ------------------------------------------------------------------------------------

    def _from_guest(self) -> None:
        try:
            while said := self.stream.recv(CHUNK):
                self.far.sendall(said)
        except libvirt.libvirtError as problem:
            self.problem = self.problem or messages.translate(problem, vm=self.vm, host=self.host.name)
        except OSError:
            pass  # nobody listens any more: we are leaving
        self._hang_up()

    def _to_guest(self) -> None:
        try:
            while typed := self.far.recv(CHUNK):
                self.sent += len(typed)
                while typed:
                    typed = typed[self.stream.send(typed[:PIECE]) :]
        except libvirt.libvirtError:
            # The guest may have said something before that; the other direction says what happened.
            with suppress(OSError):
                self.far.shutdown(socket.SHUT_RD)

    def _watch(self) -> None:
        while not self.over.wait(SIGN_EVERY):
            sent, answered = self.sent, threading.Event()
            threading.Thread(target=self._ask, args=(answered,), daemon=True).start()
            if not answered.wait(SILENT_SECONDS) and self.sent == sent and not self.over.is_set():
                self.problem = messages.lost(self.host.name)
                bounded.left_behind.set()
                self._hang_up()
                return
            while not answered.wait(1.0):
                if self.over.is_set():
                    return

    def _ask(self, answered: threading.Event) -> None:
        """Any answer is a sign of life, also an error; the line itself says if the connection is gone."""
        with suppress(libvirt.libvirtError):
            self.host.conn.getLibVersion()
        answered.set()

    def _hang_up(self) -> None:
        """Let the person's side read to the end of what was said, and then the end."""
        with suppress(OSError):
            self.far.shutdown(socket.SHUT_RDWR)
