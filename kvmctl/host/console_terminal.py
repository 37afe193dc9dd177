"""A serial line on the embedded host: the pseudo-terminal of its QEMU, opened directly.

The host's driver is not used, since only one process at a time may have it and a console stays for long: what the
driver wrote down about its running VMs is read instead. A number of a pseudo-terminal is given out again soon, so the
one named there is opened only if it is that QEMU's. A lock makes the console one client's at a time.

A guest that powers itself off leaves its QEMU behind until the driver ends it. So the host is watched meanwhile, by a
process that lets others have the driver whenever they want it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.errors import KvmctlError, Refused
from kvmctl.host import states
from kvmctl.host.console import Line, busy, not_running, terminal_of
from kvmctl.host.domains import looks_like_uuid, not_found
from kvmctl.host.embedded import root_of
from kvmctl.host.relay import FOR_EVER, RelayWatch

if TYPE_CHECKING:
    from kvmctl.host.targets import Target

TAKE_OVER = signal.SIGUSR1
"""Tells the kvmctl that has the console to let go of it; `conversation` listens."""
LETTING_GO_SECONDS = 5.0
WHY_SECONDS = 2.0
"""How long to wait for the watch to say why the VM ended."""
FLOCK = "hhqqi4x"
"""struct flock: kind, from where, start, length, process."""


class TerminalLine(Line):
    """The other end of QEMU's terminal, which QEMU closes when it ends and at no other time."""

    def __init__(self, vm: str, descriptor: int, watch: RelayWatch) -> None:
        super().__init__(vm, descriptor)
        self.watch = watch
        threading.Thread(target=self._start, daemon=True).start()

    def after_closing(self) -> str:
        with self.watch.changed:
            self.watch.changed.wait_for(lambda: self._reason() is not None, WHY_SECONDS)
        reason = self._reason()
        return f"ended: {reason}" if reason else "ended"

    def _start(self) -> None:
        with suppress(KvmctlError):  # without it the console works, and ends a little later
            self.watch.start()

    def _reason(self) -> str | None:
        """Why the VM ended, if that is known by now."""
        for seen in self.watch.seen.values():
            if seen.name == self.vm and seen.state in states.OFF:
                return seen.reason
        return None


@contextmanager
def open_terminal(target: Target, vm: str, *, force: bool) -> Iterator[Line]:
    """The pseudo-terminal of a running VM, ours alone for the time of the block."""
    root = Path(root_of(target))
    name, process, path = _locate(root, vm, target.name)
    number = int(path.rpartition("/")[2]) if path.startswith("/dev/pts/") else -1
    if number < 0 or number not in _terminals_of(process):
        raise not_running(name)
    with _ours_alone(root / "consoles.lock", number, name, force=force):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as problem:
            if problem.errno in (errno.ENOENT, errno.EIO, errno.ENXIO):
                raise not_running(name) from problem
            raise
        watch = RelayWatch(target, FOR_EVER)
        try:
            tty.setraw(descriptor)
            yield TerminalLine(name, descriptor, watch)
        finally:
            watch.stop()
            os.close(descriptor)


def _locate(root: Path, vm: str, host: str) -> tuple[str, int, str]:
    """Name, QEMU process and terminal of a running VM, by name or UUID."""
    running, defined = root / "run/qemu", root / "etc/qemu"
    for file in _candidates(running, vm):
        status = _read(file)
        domain = status.find("domain") if status is not None else None
        if status is None or domain is None or not _is(domain, vm):
            continue
        name = domain.findtext("name") or vm
        return name, int(status.get("pid") or 0), terminal_of(name, domain)[1]
    for file in _candidates(defined, vm):
        domain = _read(file)
        if domain is not None and _is(domain, vm):
            raise not_running(domain.findtext("name") or vm)
    raise not_found(vm, host, {file.stem for place in (running, defined) for file in place.glob("*.xml")})


def _candidates(place: Path, vm: str) -> list[Path]:
    """The files that may be this VM's: the driver names them after it."""
    if looks_like_uuid(vm):
        return sorted(place.glob("*.xml"))
    return [place / f"{vm}.xml"] if "/" not in vm and "\0" not in vm else []


def _is(domain: ElementTree.Element, vm: str) -> bool:
    return vm == domain.findtext("name") or vm.lower() == domain.findtext("uuid")


def _read(file: Path) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(file.read_bytes())
    except (OSError, ElementTree.ParseError):  # not there, or not any more
        return None


def _terminals_of(process: int) -> set[int]:
    """The numbers of the pseudo-terminals whose other side this process holds."""
    found: set[int] = set()
    for file in Path(f"/proc/{process}/fdinfo").glob("*") if process else ():
        with suppress(OSError):
            lines = file.read_text().splitlines()
            found.update(int(line.split(":")[1]) for line in lines if line.startswith("tty-index:"))
    return found


@contextmanager
def _ours_alone(file: Path, number: int, vm: str, *, force: bool) -> Iterator[None]:
    """Hold the lock of this terminal: one byte of a file for each, which goes free when its holder ends."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not _lock(lock, number):
            if not force:
                raise busy(vm)
            _make_let_go(lock, number, vm)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, number: int) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError as problem:
        if problem.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _make_let_go(lock: int, number: int, vm: str) -> None:
    """Tell the kvmctl that has the console to end, and take the lock once it has."""
    ends = time.monotonic() + LETTING_GO_SECONDS
    told = 0
    while not _lock(lock, number):
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
        holder = struct.unpack(FLOCK, fcntl.fcntl(lock, fcntl.F_GETLK, asked))[4]
        if holder > 0 and holder != told:
            with suppress(ProcessLookupError):
                os.kill(holder, TAKE_OVER)
            told = holder
        if time.monotonic() >= ends:
            who = f"process {told}" if told else "a process we cannot see"
            raise Refused("console-busy", f"{who} has its console, and does not let go of it", vm=vm)
        time.sleep(0.02)
