"""Connections to hosts: opened and closed within a limit, and every libvirt error told in our own terms.

Knows nothing of VMs. A connection that needs events has libvirt's event loop running; others do without, which
saves time and a round trip. The embedded host is opened by `embedded`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from kvmctl.errors import HostUnreachable
from kvmctl.host import bounded, messages
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work

Answer = TypeVar("Answer")

CONNECT_SECONDS = 15.0
"""How long a host gets to answer."""
PROMPT_SECONDS = 90.0
"""The same where ssh may ask a person for a password."""
CLOSE_SECONDS = 1.0
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3
"""A host that is silent for 20 seconds is lost. Needs the event loop."""


class Host:
    """A host we are connected to."""

    __slots__ = ("conn", "events", "target")

    def __init__(self, target: Target, conn: libvirt.virConnect, *, events: bool) -> None:
        self.target = target
        self.conn = conn
        self.events = events

    @property
    def name(self) -> str:
        """What the field `host` shows: the alias, or the URI as it was given."""
        return self.target.name

    @property
    def embedded(self) -> bool:
        return self.target.embedded

    @property
    def may_be_left(self) -> bool:
        """True if nobody needs to be told that we go: a daemon tidies up when our process ends.

        That saves two round trips where there are event subscriptions. Drivers that live in our own process, libvirt's
        test driver for one, are closed in good order; the embedded one stays open as long as the process lives anyway.
        """
        return self.events and self.target.uri.startswith("qemu")

    def check_alive(self) -> None:
        """Raise if the connection was lost. Asks nobody, so it costs no round trip."""
        with translated(host=self.name):
            if not self.conn.isAlive():
                raise messages.lost(self.name)


@contextmanager
def connect(
    target: Target,
    *,
    timeout: float | None = None,
    readonly: bool = False,
    events: bool = False,
    work: Work | None = None,
) -> Iterator[Host]:
    """Connect to a host, and leave it at the end.

    In the main thread Ctrl-C ends the attempt; in a thread of `parallel.run`, give its `work` for the same.
    """
    if target.embedded:
        from kvmctl.host.embedded import open_driver

        conn = open_driver(target, timeout=timeout, work=work)
    else:
        conn = _open(target, timeout=timeout, readonly=readonly, events=events, work=work)
    host = Host(target, conn, events=events)
    try:
        with translated(host=target.name):
            yield host
    finally:
        _close(host)


@contextmanager
def translated(vm: str = "", doing: str = "", host: str = "") -> Iterator[None]:
    """Raise what libvirt says as one of our own errors. `doing` completes the sentence "cannot …"."""
    try:
        yield
    except libvirt.libvirtError as problem:
        raise messages.translate(problem, vm=vm, doing=doing, host=host) from problem


def or_nothing(question: Callable[[], Answer], nothing: Answer) -> Answer:
    """The answer; `nothing` if this host does not answer such a question."""
    try:
        return question()
    except libvirt.libvirtError as problem:
        if messages.is_connection_loss(problem):
            raise
        return nothing


def _open(
    target: Target, *, timeout: float | None, readonly: bool, events: bool, work: Work | None
) -> libvirt.virConnect:
    uri, limit = target.uri, CONNECT_SECONDS
    by_ssh = "ssh" in uri.partition(":")[0]
    if by_ssh:
        from kvmctl.host import ssh

        if ssh.may_prompt():
            limit = PROMPT_SECONDS
        else:
            uri = ssh.without_prompts(uri)
    limit = min(limit, timeout or limit)
    if events:
        from kvmctl.host.loop import start

        start()
    opener = libvirt.openReadOnly if readonly else libvirt.open
    try:
        conn = bounded.call(lambda: opener(uri), limit, work=work, late=lambda conn: conn.close())
    except libvirt.libvirtError as problem:
        raise messages.translate_connect(problem, host=target.name, uri=uri) from problem
    except TimeoutError:
        raise HostUnreachable(
            "host-unreachable", f"{target.name}: no answer within {limit:g} s", hint="is the host up, and its libvirtd?"
        ) from None
    finally:
        if by_ssh and sys.exc_info()[0]:
            ssh.end_children(uri)
    if events:
        with suppress(libvirt.libvirtError):  # libvirt's test driver has nobody to keep alive
            conn.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
    return conn


def _close(host: Host) -> None:
    """Say goodbye, unless the host does not listen any more."""
    if host.embedded or host.may_be_left:
        return
    with suppress(libvirt.libvirtError, TimeoutError, KeyboardInterrupt):  # what was to be done is done
        bounded.call(host.conn.close, CLOSE_SECONDS)
