"""What libvirt tells by itself of a move: the end of each pass, the guest held and let go, the sum of it all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from kvmctl.host import bounded
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.sample import Phase

LEAVE_SECONDS = 1.0
SUM_SECONDS = 0.5
"""How long the sum may come after the call that it is about."""


class Ears:
    """Heard of one VM. `wake` is set whenever there was something to hear."""

    def __init__(self, source: Host, target: Host, domain: libvirt.virDomain) -> None:
        self.conn, self.there, self.domain = source.conn, target.conn, domain
        self.uuid: str = domain.UUIDString()
        self.wake = threading.Event()
        self.phase: Phase = "preparing"
        self.suspended_at: float | None = None
        """When the guest was held, on the monotonic clock."""
        self.resumed_at: float | None = None
        """When the target was heard to let it go."""
        self._sum: dict[str, Any] = {}
        self._summed = threading.Event()

    def sum(self) -> dict[str, Any]:
        """libvirt's statistics of a move that has ended well."""
        self._summed.wait(SUM_SECONDS)
        return self._sum

    @contextmanager
    def listening(self) -> Iterator[None]:
        lifecycle = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        events: tuple[tuple[libvirt.virConnect, libvirt.virDomain | None, int, Callable[..., None]], ...] = (
            (self.conn, self.domain, libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, self._on_iteration),
            (self.conn, self.domain, lifecycle, self._on_lifecycle),
            (self.conn, self.domain, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._on_completed),
            (self.there, None, lifecycle, self._on_arrival),
        )
        subscriptions: dict[libvirt.virConnect, list[int]] = {self.conn: [], self.there: []}
        try:
            for conn, domain, event, hear in events:
                subscriptions[conn].append(conn.domainEventRegisterAny(domain, event, hear, None))
            yield
        finally:
            for conn, numbers in subscriptions.items():
                for number in numbers:
                    try:
                        bounded.call(partial(conn.domainEventDeregisterAny, number), LEAVE_SECONDS)
                    except (libvirt.libvirtError, TimeoutError):
                        break  # the connection is gone, and with it what was subscribed

    def _on_iteration(self, *_: object) -> None:
        self.wake.set()

    def _on_lifecycle(self, conn: object, domain: object, event: int, detail: int, opaque: object) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
            if self.phase not in ("postcopy", "postcopy-paused"):  # after which it is no longer the guest that is held
                self.suspended_at = time.monotonic()
            if detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY:
                self.phase = "postcopy"
            elif detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED:
                self.phase = "postcopy-paused"
            elif detail == libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED:
                self.phase = "finishing"
        self.wake.set()

    def _on_arrival(self, conn: object, domain: libvirt.virDomain, event: int, detail: int, opaque: object) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_RESUMED and domain.UUIDString() == self.uuid:
            self.resumed_at = self.resumed_at or time.monotonic()

    def _on_completed(self, conn: object, domain: object, statistics: dict[str, Any], opaque: object) -> None:
        self._sum = statistics
        self._summed.set()
