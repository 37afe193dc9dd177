"""A VM's serial line, opened as a file descriptor: over a libvirt stream, or on the embedded host directly.

One client at a time has a console; another is refused, or with force takes it over. What is said over the line is
the affair of `conversation`. Nothing here reads the keyboard or writes to the screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.errors import NotFound, Refused, TimedOut
from kvmctl.host.connection import connect, translated
from kvmctl.host.conversation import Ending, end_by
from kvmctl.host.domains import find
from kvmctl.host.library import libvirt
from kvmctl.host.reading import lines

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.targets import Target


class Line:
    """An open serial line. `descriptor` does not block, and reads as ended once the host has closed the line."""

    def __init__(self, vm: str, descriptor: int) -> None:
        self.vm = vm
        self.descriptor = descriptor

    def after_closing(self) -> str:
        """Once the host has closed the line: what became of the VM, or the error if it is not the VM that ended."""
        raise NotImplementedError


@contextmanager
def open_line(target: Target, vm: str, *, force: bool, timeout: float | None) -> Iterator[Line]:
    """The serial line of a running VM, for the time of the block."""
    if target.embedded:
        from kvmctl.host.console_terminal import open_terminal

        with open_terminal(target, vm, force=force) as line:
            yield line
        return
    from kvmctl.host.console_stream import StreamLine

    with connect(target, timeout=timeout, events=True) as host:
        domain = find(host, vm)
        name = domain.name()
        with translated(vm=name, doing="look at its devices", host=host.name):
            tree = ElementTree.fromstring(domain.XMLDesc(0))
        if domain.ID() < 0:
            raise not_running(name)
        alias, _ = terminal_of(name, tree)
        stream = host.conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
        flag = libvirt.VIR_DOMAIN_CONSOLE_FORCE if force else libvirt.VIR_DOMAIN_CONSOLE_SAFE
        try:
            domain.openConsole(alias, stream, flag)
        except libvirt.libvirtError as problem:
            # This is what the code stands for here, whatever the daemon's language is.
            if problem.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED:
                raise busy(name) from problem
            with translated(vm=name, doing="open its console", host=host.name):
                raise
        opened = StreamLine(host, domain, stream)
        try:
            yield opened
        finally:
            opened.close()


def finish(line: Line, ending: Ending) -> str:
    """What to tell of a conversation that has ended; an error where it did not end as it should."""
    why = ending.why
    if why == Ending.LINE_CLOSED:
        return f"{line.vm} {line.after_closing()}"
    if why == Ending.TAKEN_OVER:
        raise taken_over(line.vm)
    if why == Ending.TIME_OVER:
        raise TimedOut("timed-out", "the session was ended by --timeout", vm=line.vm)
    if why == Ending.INPUT_UNREAD:
        raise TimedOut(
            "timed-out",
            "the guest does not read its console; not all of the input was delivered",
            hint=f"kvmctl show {line.vm} says whether it is paused",
            vm=line.vm,
        )
    if why == Ending.SIGNALLED:
        end_by(ending.signal)
    return f"{line.vm}: left the console" if why == Ending.LEFT else ""


def terminal_of(vm: str, domain: Element) -> tuple[str | None, str]:
    """The guest's first serial line, else its first console: libvirt's name for it, and the terminal on the host."""
    found = lines(domain)
    for line in found:
        alias, source = line.find("alias"), line.find("source")
        path = line.get("tty") or (source.get("path", "") if source is not None else "")
        if line.get("type") == "pty" and path:
            return (alias.get("name") if alias is not None else None), path
    kinds = ", ".join(dict.fromkeys(line.get("type", "") for line in found))
    have = f"its serial line goes elsewhere ({kinds}), and not to a terminal" if found else "it has no serial console"
    raise NotFound("no-console", have, hint="add 'serial: true' to its spec, and start it again", vm=vm)


def not_running(vm: str) -> Refused:
    return Refused("vm-not-running", "is not running", hint=f"kvmctl start {vm}", vm=vm)


def busy(vm: str) -> Refused:
    return Refused("console-busy", "another client has its console", hint=f"kvmctl console {vm} --force", vm=vm)


def taken_over(vm: str) -> Refused:
    return Refused("console-busy", "another client took its console over", hint=f"kvmctl console {vm} --force", vm=vm)
