"""How fast the way from the source host to the target host is, by nothing but their libvirts.

The source is told to migrate a VM to an address of a kind that no libvirt knows. It sends all that was said to the
target, which refuses at once, before it makes anything. Said is also a parameter of some megabytes that nobody reads:
how much longer it takes with it than without is what the way takes, less what it takes from us to the source, which is
seen from the same call to nowhere. The quickest of a few rounds counts, since everything else only adds to the time.

The guest notices nothing; the VM is held by a job for some milliseconds. On ways of 10 Gbit/s and more the answer is a
lower bound. None where the source does not reach the target by itself, or we are too far from the source to tell.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kvmctl.host import bounded
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from kvmctl.parallel import Work

NO_SUCH_WAY = "none:none"
"""Where the memory would go. The target names it when it refuses."""
NO_SUCH_HOST = "none://none:none/system"
"""libvirt refuses it without asking anybody."""
LOADS = (1_000_000, 4_000_000)
"""The second is nearly as long as libvirt lets a parameter be; it is for ways that are slow or long."""
SLOW_SECONDS = 0.06
"""A way that takes longer for the first load is asked with the second."""
LEAST_SECONDS = 0.0005
"""Less cannot be told from nothing."""
FAR_SECONDS = 0.25
"""A source that takes longer to be told so much is too far away from us."""
ROUNDS, FEWEST = 12, 3
SURE_ROUNDS = 8
UNSURE_SECONDS = 0.0016
"""Fewer rounds do not prove that a way is faster than this, nor than what the same call differs by on a busy host."""
CALL_SECONDS = 2.5
HANDLING, MOST_HANDLING = 2.5, 0.0045
"""To hand so much on to another host takes libvirtd so many times what it takes to refuse it; at most these seconds."""


def probe(domain: libvirt.virDomain, peer_uri: str, *, work: Work, seconds: float) -> int | None:
    """Bytes a second from the source of a running VM to the target; may take twice `seconds` at worst."""
    ends, took = time.monotonic() + seconds, 0.0
    try:
        for load in LOADS:
            seen = _took(domain, peer_uri, load, ends, work)
            if seen is None:
                return None
            took = seen
            if took < SLOW_SECONDS or time.monotonic() > ends:
                break
    except TimeoutError:
        return None
    return round(load / took)


def _took(domain: libvirt.virDomain, peer_uri: str, load: int, ends: float, work: Work) -> float | None:
    """Seconds that a load takes between the hosts."""
    near, empty, loaded = [], [], []
    for _ in range(ROUNDS):
        near.append(_timed(domain, NO_SUCH_HOST, load, work)[0])
        if min(near) > FAR_SECONDS:
            return None
        without, said = _timed(domain, peer_uri, 0, work)
        with_load, said_too = _timed(domain, peer_uri, load, work)
        if not (NO_SUCH_WAY in said and NO_SUCH_WAY in said_too):
            return None  # it did not come as far as the target
        empty.append(without)
        loaded.append(with_load)
        if time.monotonic() > ends or (with_load > SLOW_SECONDS and len(loaded) >= FEWEST):
            break
    least = min(near)
    shortest = LEAST_SECONDS if len(loaded) >= SURE_ROUNDS else max(UNSURE_SECONDS, _noise(near), _noise(empty))
    return max(shortest, min(loaded) - min(empty) - least - min(HANDLING * least, MOST_HANDLING))


def _noise(times: list[float]) -> float:
    """What the two quickest of the same call differ by."""
    first, second = sorted(times)[:2] if len(times) > 1 else (0.0, 0.0)
    return second - first


def _timed(domain: libvirt.virDomain, uri: str, load: int, work: Work) -> tuple[float, str]:
    """How long a refusal takes, and its words."""
    refused = libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_UNSAFE
    given: dict[str, Any] = {libvirt.VIR_MIGRATE_PARAM_URI: NO_SUCH_WAY}
    if load:
        given[libvirt.VIR_MIGRATE_PARAM_GRAPHICS_URI] = "x" * load
    began = time.monotonic()
    try:
        bounded.call(lambda: domain.migrateToURI3(uri, given, refused), CALL_SECONDS, work=work)
    except libvirt.libvirtError as problem:
        return time.monotonic() - began, str(problem)
    raise TimeoutError
