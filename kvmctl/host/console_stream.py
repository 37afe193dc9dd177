"""A serial line over a libvirt stream, made into a file descriptor: the far end of a socket is served by threads.

libvirt's event loop tells when the guest has said something. Streams that block instead were tried, one thread reading
and one sending: libvirt 9.0 now and then leaves the sender asleep until something else happens on the connection.

What the person's side does not take in time makes the event loop wait, so that the host is not read any more and
the guest waits in the end; not for long at a time, since a connection whose loop does nothing is given up by the host.
libvirt's own keepalive is off: a host that reads no more input, because the guest does not listen, answers nothing else
either. So it is asked for a sign of life here, and silence counts only while nothing was sent.
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
MANY = 16 * CHUNK
"""More than this not taken yet, and the event loop waits."""
WAIT_SECONDS = 10.0
PIECE = 4096
"""Input goes in small pieces: what a guest leaves unread then stays with us, and little is under way."""
CLOSE_SECONDS = 2.0
GLANCE = 0.5
SIGN_EVERY = 10.0
SILENT_SECONDS = 20.0
"""A host that answers nothing for this long is lost."""
ANSWER_SECONDS = 5.0
ENDING_SECONDS = 3.0
"""A line closes a moment before libvirt knows that the VM has ended."""
NOTHING_NOW = -2
"""What a stream that does not block gives when there is nothing to read."""
EVENTS = libvirt.VIR_STREAM_EVENT_READABLE | libvirt.VIR_STREAM_EVENT_HANGUP | libvirt.VIR_STREAM_EVENT_ERROR


class StreamLine(Line):
    """`near` is the person's end. The stream must not block, and the connection must have the event loop."""

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
        self.said = bytearray()
        self.complete = False
        self.changed = threading.Condition()
        self.sent = 0
        self.over = threading.Event()
        with suppress(libvirt.libvirtError):
            host.conn.setKeepAlive(0, 0)
        self.threads = [
            threading.Thread(target=work, daemon=True) for work in (self._pass_on, self._to_guest, self._watch)
        ]
        for thread in self.threads:
            thread.start()
        stream.eventAddCallback(EVENTS, self._on_event, None)

    def close(self) -> None:
        """Leave the line. A host that does not listen any more is not waited for."""
        self.over.set()
        self._end()
        self._hang_up()
        with suppress(libvirt.libvirtError, TimeoutError):
            bounded.call(self._abort, CLOSE_SECONDS)
        for thread in self.threads:
            thread.join(CLOSE_SECONDS)
        self.near.close()
        self.far.close()

    def _abort(self) -> None:
        with suppress(libvirt.libvirtError):  # it may have ended, and removed it, just now
            self.stream.eventRemoveCallback()
        self.stream.abort()

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

    def _on_event(self, stream: libvirt.virStream, events: int, opaque: object) -> None:
        """Take all that there is; called by libvirt's event loop."""
        try:
            while (said := self.stream.recv(CHUNK)) != NOTHING_NOW:
                if not said:
                    self._stop_listening()
                    return
                with self.changed:
                    self.said += said
                    self.changed.notify_all()
        except libvirt.libvirtError as problem:
            self.problem = self.problem or messages.translate(problem, vm=self.vm, host=self.host.name)
            self._stop_listening()
            return
        with self.changed:
            self.changed.wait_for(lambda: len(self.said) < MANY or self.over.is_set(), WAIT_SECONDS)

    def _stop_listening(self) -> None:
        with suppress(libvirt.libvirtError):
            self.stream.eventRemoveCallback()
        self._end()

    def _end(self) -> None:
        """There will be no more."""
        with self.changed:
            self.complete = True
            self.changed.notify_all()

    def _pass_on(self) -> None:
        """Hand over to the person's side what the guest says, as fast as that takes it."""
        with suppress(OSError):  # nobody listens any more: we are leaving
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.said or self.complete)
                    said = bytes(self.said[:CHUNK])
                    del self.said[:CHUNK]
                    self.changed.notify_all()
                if not said:
                    break
                self.far.sendall(said)
        self._hang_up()

    def _to_guest(self) -> None:
        try:
            while typed := self.far.recv(CHUNK):
                self.sent += len(typed)
                while typed:
                    typed = typed[self.stream.send(typed[:PIECE]) :]
        except (libvirt.libvirtError, OSError):
            # The guest may have said something before that; the other direction says what happened.
            with suppress(OSError):
                self.far.shutdown(socket.SHUT_RD)

    def _watch(self) -> None:
        """Notice a host that is lost: a closed connection, or silence."""
        asked, sent, answered = time.monotonic(), self.sent, threading.Event()
        answered.set()
        while not self.over.wait(GLANCE):
            now = time.monotonic()
            if answered.is_set() and now > asked + SIGN_EVERY:
                asked, sent, answered = now, self.sent, threading.Event()
                threading.Thread(target=self._ask, args=(answered,), daemon=True).start()
            silent = not answered.is_set() and now > asked + SILENT_SECONDS and self.sent == sent
            if silent:
                bounded.left_behind.set()
            if silent or not self._is_alive():
                self.problem = messages.lost(self.host.name)
                self._end()
                return

    def _is_alive(self) -> bool:
        with suppress(libvirt.libvirtError):
            return bool(self.host.conn.isAlive())
        return False

    def _ask(self, answered: threading.Event) -> None:
        """Any answer is a sign of life, also an error; the line itself says if the connection is gone."""
        with suppress(libvirt.libvirtError):
            self.host.conn.getLibVersion()
        answered.set()

    def _hang_up(self) -> None:
        """Let the person's side read to the end of what was said, and then the end."""
        with suppress(OSError):
            self.far.shutdown(socket.SHUT_RDWR)
