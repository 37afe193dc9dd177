"""How fast a guest writes, as its own QEMU counts it, without stopping or slowing it.

QEMU remembers pages taken at random and looks again when the time is over: what it tells is how much memory was written
at all in that time, once or many times. The exact way, by the bitmap that migration uses, is never taken: it ends the
QEMU 7.2 of an emulated guest. Needs libvirt 7.2; None where it cannot be told.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kvmctl.host import bounded
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from kvmctl.parallel import Work

MIB = 1 << 20
ASK_SECONDS = 2.0
LATE_SECONDS = 1.5
"""How much longer than its time a count may take."""
GLANCE = 0.02


class Count:
    """A count under way; `seconds` is a whole number, since QEMU knows no other."""

    def __init__(self, domain: libvirt.virDomain, seconds: int) -> None:
        self.domain = domain
        self.seconds = seconds
        self.ends = time.monotonic() + seconds

    def written(self, work: Work) -> int | None:
        """Bytes of memory that were written in that time. Waits for the end of it."""
        limit = self.ends + LATE_SECONDS
        while (left := self.ends - time.monotonic()) > 0:
            bounded.check_cancelled(work)
            time.sleep(min(GLANCE, left))
        while time.monotonic() < limit:
            bounded.check_cancelled(work)
            try:
                answer = bounded.call(self._ask, ASK_SECONDS, work=work)
            except (libvirt.libvirtError, TimeoutError):
                return None
            if answer.get("dirtyrate.calc_status") == libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED:
                return int(answer["dirtyrate.megabytes_per_second"]) * MIB * self.seconds
            time.sleep(GLANCE)
        return None

    def _ask(self) -> dict[str, int]:
        flags = libvirt.VIR_DOMAIN_STATS_DIRTYRATE
        [(_, answer)] = self.domain.connect().domainListGetStats([self.domain], flags)
        return dict(answer)


def begin(domain: libvirt.virDomain, seconds: int, work: Work) -> Count | None:
    """Have QEMU count from now on."""
    mode = libvirt.VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING
    try:
        bounded.call(lambda: domain.startDirtyRateCalc(seconds, mode), ASK_SECONDS, work=work)
    except (AttributeError, libvirt.libvirtError, TimeoutError):
        return None
    return Count(domain, seconds)
