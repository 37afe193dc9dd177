"""One move, fully decided: what the engine is told, and all it knows. Made of all that was found and wished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmctl.plan.migration.means import Means


@dataclass(frozen=True, kw_only=True)
class Order:
    """`peer_uri` is the target's libvirt as the source host reaches it; None: the client manages the move."""

    means: Means
    peer_uri: str | None
    migrate_uri: str | None = None
    """Where the memory goes, tcp://ADDRESS; None lets the target's libvirt say."""
    persistent: bool
    autostart: bool
    running: bool
    """False: the definition alone moves."""
    safe_switch: bool
    """Arrive paused, see the source off, then run: for disks whose storage cannot lock."""
    target_xml: str | None = None
    """The live definition for the target, where something is mapped or planned anew."""
    persistent_xml: str | None = None
    copied_disks: tuple[str, ...] = ()
    """Targets (vda) of disks whose content moves too."""
    copied_layers: bool = False
    """Only the top layer of these, since the target has their backing images."""
    writes_wait: bool = False
    """The guest's writes to them wait for the target: it writes faster than the link."""
    tls: bool = False
    unsafe: bool = False
    """libvirt's own test for shared storage is to be overruled: shown by evidence, or said by the user."""
    expected_ms: int | None = None
    """How long it will take, by the forecast."""
