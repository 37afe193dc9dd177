"""One migration in the lab, timed by QEMU itself: what both sides' events say, and what went over the cable.

The pause is from STOP here to RESUME there, the total from QEMU's first word of it to its last; both QEMUs have one
clock. Nothing here compares or prints.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import libvirt
import libvirt_qemu

from tests.lab.hosts import Host, Lab
from tests.lab.load import Load, boot
from tests.results import Result

NAME = "loaded"
SETTLE_SECONDS = 0.7
"""For the guest to have come to its rate."""
TX = "cat /sys/class/net/cable/statistics/tx_bytes"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One migration; `total_ms` None: it did not arrive in time. `answer` is what kvmctl said, if it was kvmctl."""

    total_ms: float | None
    pause_ms: float | None
    wire: int
    seconds: float
    answer: dict[str, Any] = field(default_factory=dict)


Mover = Callable[["Yard", float], dict[str, Any]]
"""Moves the guest, in so many seconds at most; what is to be known of it."""


class Yard:
    """Both hosts with ears on their QEMUs."""

    def __init__(self, lab: Lab) -> None:
        libvirt.registerErrorHandler(lambda context, error: None, None)  # else each is printed
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_events, daemon=True).start()
        self.lab = lab
        self.here, self.there = lab.hosts
        self.connections = [libvirt.open(host.outside_uri) for host in lab.hosts]
        self.heard: list[tuple[Host, float, str, str]] = []
        for host, connection in zip(lab.hosts, self.connections, strict=True):
            libvirt_qemu.qemuMonitorEventRegister(connection, None, None, self._hear, host)

    def _hear(self, conn: Any, dom: Any, event: str, seconds: int, micros: int, details: str, host: Host) -> None:
        status = json.loads(details or "{}").get("status", "")
        self.heard.append((host, seconds * 1000 + micros / 1000, event, status))

    def _at(self, host: Host, event: str, status: str = "") -> float | None:
        return next((at for whose, at, what, how in self.heard if (whose, what, how) == (host, event, status)), None)

    def run(self, load: Load, mover: Mover, *, limit: float) -> Run:
        """A fresh guest, moved once."""
        with self._guest(load):
            self.heard.clear()
            before, began = int(self.here.run(TX).stdout), time.monotonic()
            answer = mover(self, limit)
            seconds = time.monotonic() - began
            time.sleep(0.1)  # the last event is on its way
            wire = int(self.here.run(TX).stdout) - before
        setup, over = self._at(self.here, "MIGRATION", "setup"), self._at(self.here, "MIGRATION", "completed")
        stop, resume = self._at(self.here, "STOP"), self._at(self.there, "RESUME")
        return Run(
            total_ms=over - setup if setup and over else None,
            pause_ms=resume - stop if stop and resume else None,
            wire=wire,
            seconds=seconds,
            answer=answer,
        )

    @contextlib.contextmanager
    def _guest(self, load: Load) -> Iterator[None]:
        boot(self.connections[0], self.lab.directory, NAME, load)
        time.sleep(SETTLE_SECONDS)
        try:
            yield
        finally:
            for connection in self.connections:
                with contextlib.suppress(libvirt.libvirtError):
                    domain = connection.lookupByName(NAME)
                    with contextlib.suppress(libvirt.libvirtError):
                        domain.destroy()
                    domain.undefine()


def _events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def ours(*options: str) -> Mover:
    """kvmctl, which chooses for itself."""

    def move(yard: Yard, limit: float) -> dict[str, Any]:
        words = ["--host", "qemu:///system", "migrate", NAME, yard.there.name, *options, "--output", "json"]
        done: Result = yard.here.kvmctl(words, exit=None, timeout=limit + 60)
        lines = done.stdout.splitlines()
        return json.loads(lines[-1]) if lines else {"stderr": done.stderr}

    return move


def virsh(flags: Sequence[str]) -> Mover:
    """virsh with flags chosen beforehand; called off when the time is over."""

    def move(yard: Yard, limit: float) -> dict[str, Any]:
        words = ["virsh", "--connect", "qemu:///system", "migrate", "--live", "--p2p", "--unsafe", "--persistent"]
        process = yard.here.start([*words, "--undefinesource", *flags, NAME, yard.there.uri])
        ends = time.monotonic() + limit
        while process.poll() is None:
            if time.monotonic() > ends:
                yard.here.run(f"virsh --connect qemu:///system domjobabort {NAME}", check=False)
                ends += 10.0
            time.sleep(0.02)
        stderr = process.communicate()[1].decode()
        return {"stderr": stderr} if process.returncode else {}

    return move
