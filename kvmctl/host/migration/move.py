"""The move itself: libvirt's call in a thread of its own, and beside it the watch that steers, tells and gives up.

What became of the VM is not decided here: whatever the call says, `settle` looks at both ends afterwards. A call that
does not come back after it was told to stop is left behind. Nothing here says who may run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from kvmctl.errors import HostUnreachable, Interrupted, KvmctlError, TimedOut
from kvmctl.host import bounded
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.migration.call import migrate
from kvmctl.host.migration.ears import Ears
from kvmctl.host.migration.moved import Moved
from kvmctl.host.migration.stats import sample_of
from kvmctl.host.migration.stopping import Stopping
from kvmctl.plan.migration.outlook import ends_in_ms
from kvmctl.plan.migration.sample import Sample
from kvmctl.plan.migration.told import Told

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.order import Order
    from kvmctl.plan.migration.steer import Act, Pilot

BEAT = 0.25
"""Seconds between two samples; the end of a pass is heard of at once."""
ASK_SECONDS = 5.0
"""How long the source may take to answer how it goes."""
STALL_SECONDS = 25.0
"""A move of which no byte has moved for so long is given up."""
LAST_SECONDS = 35.0
"""How long the call may take to come back once the move was told to stop: libvirt waits 30 for a silent host."""

Hear = Callable[[Told], None]
Answer = TypeVar("Answer")


def move(
    source: Host,
    target: Host,
    domain: libvirt.virDomain,
    order: Order,
    pilot: Pilot,
    *,
    hear: Hear,
    on_postcopy: Callable[[], object],
    on_hold: Callable[[], object],
    work: Work,
) -> Moved:
    """Move a VM as ordered, and come back when it is over or given up. What went wrong is in the answer."""
    run = _Run(source, target, domain, order, pilot, hear, {"postcopy": on_postcopy, "pause": on_hold}, work)
    with run.ears.listening():
        return run()


class _Run:
    def __init__(
        self,
        source: Host,
        target: Host,
        domain: libvirt.virDomain,
        order: Order,
        pilot: Pilot,
        hear: Hear,
        note: Mapping[str, Callable[[], object]],
        work: Work,
    ) -> None:
        self.source, self.target, self.domain = source, target, domain
        self.order, self.pilot, self.hear, self.note, self.work = order, pilot, hear, note, work
        self.name: str = domain.name()
        self.ears = Ears(source, target, domain)
        self.sample = Sample(phase="preparing")
        self.decisions: list[str] = []
        self.failure: KvmctlError | None = None
        """Why we gave up, before the call says anything."""
        self.told_to_stop = 0.0
        self.stopping = Stopping(domain, self._steer, note["pause"])
        self.again = False
        self.held = False
        """The guest was held by us, so that all of it can go."""
        self.downtime_set = False
        self.bandwidth_set = False
        """Memory has the limit that several disks had between them."""
        self.moved_at = time.monotonic()
        """When a byte was last seen to move."""

    def __call__(self) -> Moved:
        began = time.monotonic()
        self.moved_at = began
        over = threading.Event()
        problems: list[BaseException] = []

        def call() -> None:
            try:
                with translated(vm=self.name, doing=f"migrate it to {self.target.name}", host=self.source.name):
                    migrate(self.domain, self.target, self.order)
            except BaseException as problem:  # noqa: BLE001 - carried to the thread that watches
                problems.append(problem)
            over.set()
            self.ears.wake.set()

        threading.Thread(target=call, name=f"migrate {self.name}", daemon=True).start()
        while not over.is_set():
            self.ears.wake.wait(BEAT)
            self.ears.wake.clear()
            if over.is_set():
                break
            try:
                self._look()
            except BaseException as problem:  # noqa: BLE001 - raised when the call is over, which must be waited for
                problems.append(problem)
                self._give_up(KvmctlError("migration-failed", "the watch over the move failed", vm=self.name))
            if self.told_to_stop and time.monotonic() - self.told_to_stop > LAST_SECONDS:
                bounded.left_behind.set()
                break
        said = next(iter(problems), None)
        if said is not None and not isinstance(said, KvmctlError) and over.is_set():
            raise said
        return Moved(
            sample=self.sample,
            decisions=tuple(self.decisions),
            seconds=time.monotonic() - began,
            suspended_at=self.ears.suspended_at,
            resumed_at=self.ears.resumed_at,
            final=self.ears.sum() if over.is_set() and not problems else {},
            postcopy=self.ears.phase in ("postcopy", "postcopy-paused"),
            problem=self.failure or (said if isinstance(said, KvmctlError) else None),
            still=time.monotonic() - self.moved_at,
            again=self.again and bool(problems) and not self.stopping.nudged,
            over=over.is_set(),
        )

    # -- watching ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """One glance: is it wanted still, does it move, and what does the pilot make of it?"""
        if self.told_to_stop:
            self._stop()
            return
        if self.work.cancelled.is_set() and self.ears.phase != "postcopy":
            self._give_up(Interrupted("interrupted", "migration interrupted, and undone", vm=self.name))
            return
        if not self.work.remaining() and self.ears.phase != "postcopy":
            self._give_up(TimedOut("timed-out", f"not moved within {self.work.limit:g} s", vm=self.name))
            return
        before = self.sample
        if self._seen() is None:
            self._check_lost()
            return
        if _moved(before, self.sample):
            self.moved_at = time.monotonic()
        if not self.order.running:
            return
        for act in self.pilot.observe(self.sample):
            self._do(act)
        self._tell()
        self._check_stalled()

    def _tell(self) -> None:
        left = ends_in_ms(self.sample, self.order.expected_ms)
        self.hear(Told(kind="progress", vm=self.name, sample=self.sample, ends_in_ms=left))

    def _take_sample(self) -> None:
        def ask() -> Sample:
            with translated(vm=self.name, host=self.source.name):
                return replace(sample_of(self.domain.jobStats(), self.ears.phase), held=self.held)

        sample = self._asked(ask)
        if sample.elapsed_ms or sample.total:
            # What libvirt leaves out at the very end is not lost.
            self.sample = sample if sample.total or sample.disk_total else replace(self.sample, phase=sample.phase)
            if not self.downtime_set and self.order.running:
                self.downtime_set = True
                self._steer(lambda: self.domain.migrateSetMaxDowntime(self.order.means.downtime_ms))
            if not self.bandwidth_set and self.sample.phase == "precopy":
                self.bandwidth_set = True
                limit = self.order.means.bandwidth
                if limit and len(self.order.copied_disks) > 1:
                    self._steer(lambda: self.domain.migrateSetMaxSpeed(max(1, limit >> 20)))

    def _check_lost(self) -> None:
        """The source did not answer: a call that waits there cannot end well when its connection is gone."""
        if self._alive(self.source) and time.monotonic() - self.moved_at < STALL_SECONDS:
            return
        self._give_up(HostUnreachable("link-lost", f"{self.source.name} does not answer any more", vm=self.name))

    def _check_stalled(self) -> None:
        if self.ears.phase == "postcopy-paused":
            return
        if self.order.peer_uri is None and self.ears.phase != "postcopy" and not self._alive(self.target):
            self._give_up(HostUnreachable("link-lost", f"the connection to {self.target.name} was lost", vm=self.name))
        elif self.sample.phase != "preparing" and time.monotonic() - self.moved_at > STALL_SECONDS:
            what = f"nothing has reached {self.target.name} for {STALL_SECONDS:.0f} s"
            self._give_up(HostUnreachable("link-lost", what, vm=self.name))

    @staticmethod
    def _alive(host: Host) -> bool:
        try:
            return bool(host.conn.isAlive())
        except libvirt.libvirtError:
            return False

    # -- steering ---------------------------------------------------------------------------------------------------

    def _do(self, act: Act) -> None:
        if act.kind == "abort":
            self._decided(act.why)
            self._give_up(TimedOut("deadline-missed", act.why, vm=self.name))
            return
        if act.kind == "again":
            self.again = True
            self._decided(act.why)
            self._give_up(KvmctlError("migration-failed", act.why, vm=self.name))
            return
        if act.kind in self.note:
            # Noted first: once libvirt was asked, whoever finishes for us must know of it.
            self.note[act.kind]()
        calls: dict[str, Callable[[], object]] = {
            "downtime": lambda: self.domain.migrateSetMaxDowntime(act.value),
            "bandwidth": lambda: self.domain.migrateSetMaxSpeed(max(1, act.value >> 20)),
            "xbzrle-cache": lambda: self.domain.migrateSetCompressionCache(act.value),
            "postcopy": self.domain.migrateStartPostCopy,
            "pause": self.domain.suspend,
        }
        if act.kind in calls and not self._steer(calls[act.kind]):
            return
        self.held = self.held or act.kind == "pause"
        self._decided(act.why)

    def _steer(self, call: Callable[[], object]) -> bool:
        """False if it could not be done: the move may be over just now."""
        try:
            self._asked(call)
        except (libvirt.libvirtError, TimeoutError):
            return False
        return True

    def _asked(self, call: Callable[[], Answer]) -> Answer:
        """The answer of the source, on whose connection libvirt's long call waits, too."""
        return bounded.call(call, ASK_SECONDS, rouse=self.source.conn.getLibVersion)

    def _decided(self, why: str) -> None:
        if why:
            self.decisions.append(why)
            self.hear(Told(kind="decision", vm=self.name, what=why, sample=self.sample))

    # -- giving up --------------------------------------------------------------------------------------------------

    def _give_up(self, failure: KvmctlError) -> None:
        self.failure = self.failure or failure
        self.told_to_stop = self.told_to_stop or time.monotonic()
        self._stop()

    def _stop(self) -> None:
        self.stopping(self.ears.phase, hurry=not self.again or self.work.cancelled.is_set())

    def _seen(self) -> Sample | None:
        """A new sample; None if there is none to be had."""
        try:
            self._take_sample()
        except (KvmctlError, TimeoutError):
            return None
        return self.sample


def _moved(before: Sample, now: Sample) -> bool:
    """Whether a byte moved between two samples."""
    return (
        before.processed != now.processed
        or before.disk_processed != now.disk_processed
        or before.remaining != now.remaining
        or before.phase != now.phase
    )
