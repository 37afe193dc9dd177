"""Watching the VMs of a host change, by libvirt's events and never by asking again and again.

`watching(target)` gives a Watch: what is known of each VM, a wait until it is as wished, and the deeds that go with
waiting. Over a connection this is `LiveWatch`. The embedded host cannot be held that long, and is watched in turns:
`relay`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kvmctl.errors import Interrupted, KvmctlError, NotFound
from kvmctl.host import states
from kvmctl.host.connection import connect
from kvmctl.host.deeds import DEEDS, start
from kvmctl.host.domains import all_states, looks_like_uuid, not_found
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work

GLANCE = 0.25
"""How often a wait looks whether the connection is alive and nobody pressed Ctrl-C. Events wake it at once."""


class Seen:
    """What was last seen of a VM. `gone` is true once its definition was deleted."""

    __slots__ = ("gone", "name", "reason", "state", "uuid")

    def __init__(self, *, name: str, uuid: str, state: str, reason: str, gone: bool = False) -> None:
        self.name = name
        self.uuid = uuid
        self.state = state
        self.reason = reason
        self.gone = gone

    def as_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self.__slots__}


class Watch:
    """What is known of the VMs of a host, kept up to date by another thread."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.changed = threading.Condition()
        self.seen: dict[str, Seen] = {}
        self.failure: KvmctlError | None = None
        self._tell: Callable[[list[Seen]], object] = lambda vms: None

    def find(self, name: str) -> Seen:
        """The VM of that name or UUID."""
        with self.changed:
            named = [vm for vm in self.seen.values() if vm.name == name and not vm.gone]
            if looks_like_uuid(name) and name.lower() in self.seen:
                named.insert(0, self.seen[name.lower()])
            if named:
                return named[0]
            names = [vm.name for vm in self.seen.values()]
        raise not_found(name, self.host, names)

    def until(self, vm: Seen, wanted: Callable[[Seen], bool], work: Work) -> Seen | None:
        """Wait until a VM is as wished: what is then known of it, or None when the time is over."""
        while True:
            with self.changed:
                self._check(work, vm.name)
                now = self.seen[vm.uuid]
                if wanted(now):
                    return now
                left = work.ends - time.monotonic()
                if left <= 0:
                    return None
                self.changed.wait(min(GLANCE, left))
            self.look_after()

    def look_after(self) -> None:
        """Raise if what tells us of changes has gone away."""

    def do(self, deed: str, vm: Seen, work: Work, **options: Any) -> Any:
        """Start a VM, or do one of `DEEDS` to it."""
        raise NotImplementedError

    def now(self, vm: Seen) -> Seen:
        """What is known of a VM at this moment."""
        with self.changed:
            return self.seen[vm.uuid]

    def on_change(self, tell: Callable[[list[Seen]], object]) -> None:
        """Have `tell` called with all that is known now, and from then on with what changes."""
        with self.changed:
            tell(list(self.seen.values()))
            self._tell = tell

    def put(self, vm: Seen) -> None:
        """Note what was seen, and wake who waits for it."""
        with self.changed:
            self.seen[vm.uuid] = vm
            self._tell([vm])
            self.changed.notify_all()

    def fail(self, failure: KvmctlError) -> None:
        """Let every wait end with this error, unless one said before what is wrong."""
        with self.changed:
            self.failure = self.failure or failure
            self.changed.notify_all()

    def _check(self, work: Work, name: str) -> None:
        if self.failure is not None:
            raise self.failure
        if work.cancelled.is_set():
            raise Interrupted("interrupted", "interrupted while waiting", vm=name)


class LiveWatch(Watch):
    """Watches over a connection with events."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.name)
        self._connection = host
        # First the events, then the states, so that no change falls between them.
        self._subscription = host.conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_event, None
        )
        domains = all_states(host)
        self._domains = {domain.UUIDString(): domain for domain, _ in domains}
        with self.changed:
            for domain, answer in domains:
                state, reason = states.words(answer.get("state.state", 0), answer.get("state.reason", 0))
                uuid = domain.UUIDString()
                self.seen[uuid] = Seen(name=domain.name(), uuid=uuid, state=state, reason=reason)

    def look_after(self) -> None:
        self._connection.check_alive()

    def do(self, deed: str, vm: Seen, work: Work, **options: Any) -> Any:
        domain = self._domains[vm.uuid]
        if deed == "start":
            return start(self._connection, domain, **options)
        return DEEDS[deed](domain, **options)

    def leave(self) -> None:
        """Hear of no more changes."""
        if not self._connection.may_be_left:
            self._domains.clear()
            self._connection.conn.domainEventDeregisterAny(self._subscription)

    def _on_event(
        self, conn: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, opaque: object
    ) -> None:
        uuid = domain.UUIDString()
        with self.changed:
            before = self.seen.get(uuid)
        state, reason = states.after_event(event, detail) or (
            (before.state, before.reason) if before else (states.STOPPED, "")
        )
        renamed = detail == libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED
        gone = event == libvirt.VIR_DOMAIN_EVENT_UNDEFINED and not renamed and state in states.OFF
        self.put(Seen(name=domain.name(), uuid=uuid, state=state, reason=reason, gone=gone))


@contextmanager
def watching(target: Target, *, timeout: float | None = None) -> Iterator[Watch]:
    """Watch the VMs of a host."""
    if target.embedded:
        from kvmctl.host.relay import RelayWatch

        relay = RelayWatch(target, timeout)
        try:
            relay.start()
            yield relay
        finally:
            relay.stop()
        return
    with connect(target, timeout=timeout, events=True) as host:
        watch = LiveWatch(host)
        try:
            yield watch
        finally:
            watch.leave()


def require_known(vm: Seen) -> None:
    """Raise if the VM was deleted meanwhile."""
    if vm.gone:
        raise NotFound("vm-not-found", "was deleted meanwhile", vm=vm.name)
