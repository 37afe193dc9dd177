"""What a forecast rests on, measured in a second or two while the guest runs: its writing, its memory, the way.

Whatever cannot be measured is None. Nothing is changed, and the guest notices nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kvmctl.host import bounded
from kvmctl.host.library import libvirt
from kvmctl.host.migration import dirty, link
from kvmctl.plan.migration.measured import Measured

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.looked import Looked

KIB = 1 << 10
MIB = 1 << 20
OWN = 44 * MIB
"""What QEMU takes for itself."""
ROOM_SECONDS = 0.3
"""What is needed beside the count."""
ASK_SECONDS = 2.0


def measure(
    source: Host,
    target: Host,
    domain: libvirt.virDomain,
    looked: Looked,
    *,
    work: Work,
    seconds: float,
    count: dirty.Count | None = None,
) -> Measured:
    """All at once, in about so many seconds; a count that was begun before is used instead of a new one."""
    if not looked.running:
        return Measured(memory=looked.memory)
    count = count or dirty.begin(domain, max(1, int(seconds - ROOM_SECONDS)), work)
    # While QEMU counts there is time anyway.
    spare = max(seconds / 2, count.ends - time.monotonic() - ROOM_SECONDS) if count else seconds / 2
    speed = link.probe(domain, looked.peer_uri, work=work, seconds=spare) if looked.peer_uri else None
    used = _used(domain, looked.memory, work)
    written = count.written(work) if count else None
    return Measured(
        memory=looked.memory,
        used=used,
        dirty_rate=None if count is None or written is None else written // count.seconds,
        working_set=written,
        link=speed,
    )


def _used(domain: libvirt.virDomain, memory: int, work: Work) -> int | None:
    """What the host holds for the guest. Huge pages are not seen there, so that then all of it counts."""
    try:
        held = bounded.call(domain.memoryStats, ASK_SECONDS, work=work).get("rss", 0) * KIB - OWN
    except (libvirt.libvirtError, TimeoutError):
        return None
    return min(held, memory) if held > 0 else None
