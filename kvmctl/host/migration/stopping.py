"""Telling libvirt to stop a move, so that its call comes back. Whether it does is for others to wait for.

QEMU 7.2 that is told to stop in the moment in which it switches over may hang with the guest held, or crash; libvirt
9.0 may hang if it is told before QEMU has begun, or twice. Measured: 14 of 160. So the move is first slowed down, then
stopped once, and not when it is nearly over: that is waited for. Who settles takes the slowing down back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kvmctl.host.library import libvirt
from kvmctl.host.migration.stats import sample_of

if TYPE_CHECKING:
    from kvmctl.plan.migration.sample import Phase, Sample

NEAR = 300 * 1024
"""Bytes of memory to go: with less, a slowed down move may switch over within a few tenths of a second."""
NEARLY_OVER_SECONDS = 2.0
"""How long a move that is nearly over may take to be over."""
BEAT = 0.1
POSTCOPY = ("postcopy", "postcopy-paused")
"""Phases in which the guest is not here any more."""
NUDGE_SECONDS = 1.0
"""A call whose move was stopped comes back in less; one that copies disks may take longer, if there is no hurry."""
CALM_SECONDS = 15.0
Steer = Callable[[Callable[[], object]], bool]


class Stopping:
    """`steer` makes a call to libvirt, in time, and says whether it could be done. `on_hold` comes before a hold."""

    def __init__(self, domain: libvirt.virDomain, steer: Steer, on_hold: Callable[[], object]) -> None:
        self.domain, self.steer, self.on_hold = domain, steer, on_hold
        self.told_at = 0.0
        self.stopped_at = 0.0
        self.nudged = False

    def __call__(self, phase: Phase, *, hurry: bool = True) -> None:
        """One glance: whatever is to be done now. Called again and again until the move is over."""
        now = time.monotonic()
        self.told_at = self.told_at or now
        if self.stopped_at:
            patience = NUDGE_SECONDS if hurry else CALM_SECONDS
            if phase not in POSTCOPY and not self.nudged and now - self.stopped_at > patience:
                self._nudge()
            return
        if phase in POSTCOPY:
            done = self.steer(lambda: self.domain.abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY))
        else:
            patient = now - self.told_at < NEARLY_OVER_SECONDS
            done = not (phase == "finishing" and patient) and stop(self.domain, self.steer, patient=patient)
        self.stopped_at = time.monotonic() if done else 0.0

    def _nudge(self) -> None:
        """Hold the guest: libvirt may sleep over the end of what it has cancelled, until QEMU tells of a change.

        Who settles lets the guest run again. It must not be done here: the move may come to its good end just now.
        """
        self.nudged = True
        self.on_hold()
        self.steer(lambda: self.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING and self.domain.suspend())


def stop(domain: libvirt.virDomain, steer: Steer, *, patient: bool) -> bool:
    """Slow a move down and stop it; False if it has not begun, or, while there is patience, if it is nearly over."""
    seen = _look(domain, steer)
    if seen is None or not (seen.total or seen.disk_total):
        return False
    if seen.total:
        steer(lambda: domain.migrateSetMaxSpeed(1))
        steer(lambda: domain.migrateSetMaxDowntime(1))
        seen = _look(domain, steer)
        if seen is None or (seen.remaining < NEAR and patient):
            return False
    return steer(domain.abortJob)


def stop_in_time(domain: libvirt.virDomain) -> None:
    """Stop a move that another process drives. One that is nearly over gets a moment to be over."""
    ends = time.monotonic() + NEARLY_OVER_SECONDS
    while not stop(domain, _done, patient=True):
        if time.monotonic() > ends:
            stop(domain, _done, patient=False)
            return
        time.sleep(BEAT)


def _done(call: Callable[[], object]) -> bool:
    """Whether libvirt does it: the move may be over just now."""
    try:
        call()
    except libvirt.libvirtError:
        return False
    return True


def _look(domain: libvirt.virDomain, steer: Steer) -> Sample | None:
    found: list[Sample] = []
    steer(lambda: found.append(sample_of(domain.jobStats(), "preparing")))
    return found[0] if found else None
