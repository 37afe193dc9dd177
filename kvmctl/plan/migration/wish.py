"""What the user asked of a migration. Nothing here decides; whatever is None is for kvmctl to choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OnDeadline = Literal["abort", "postcopy", "pause", "continue"]

DOWNTIME_MS = 300
"""The longest pause allowed where the user names none: QEMU's own limit. The aim is always far below."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """`deadline` is in seconds from the start of the move, `max_downtime_ms` the longest pause of the guest."""

    max_downtime_ms: int = DOWNTIME_MS
    deadline: float | None = None
    on_deadline: OnDeadline = "abort"
    postcopy: bool | None = None
    """False: never; True: after the first pass in any case."""
    xbzrle_cache: int | None = None
    """Bytes; 0: no xbzrle."""
    auto_converge: tuple[int, int] | None = None
    """Per cent taken from the guest's vCPUs at first, and more each time; (0, 0): not at all."""
    connections: int | None = None
    """Of multifd; 1: no multifd."""
    bandwidth: int | None = None
    """Bytes a second at most."""
    peer_to_peer: bool | None = None
    """False: managed by the client."""
    tls: bool = False
    insecure: bool = False
    """Plain text even over a network that is not private."""
    unsafe: bool = False
    """The user says that disks are shared where no evidence was found."""
    copy_disks: bool = False
    maps: Mapping[str, str] = field(default_factory=dict)
    """Path, pool or network here -> the one there."""
