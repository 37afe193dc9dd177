"""What is known of a migration that began and has not been settled: enough for another process to finish it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Step = Literal["ready", "copying", "moving", "postcopy", "arrived"]
"""`ready`, `copying`: libvirt was not asked to move anything yet, only volumes were made. `moving`: its call is under
way, or has ended and nobody looked what became of it. `postcopy`: likewise, and the guest may have gone over before its
memory. `arrived`: the source was seen off, and the target was let run or is about to be."""


@dataclass(frozen=True, kw_only=True)
class Journal:
    """One migration. `pid` and `born`, the start time of that process, say who drives it."""

    uuid: str
    name: str
    source_uri: str
    target_uri: str
    source_name: str
    target_name: str
    started: str
    """ISO-8601, UTC."""
    step: Step = "ready"
    running: bool = True
    """The guest ran when it began; one that was held by its user arrives held."""
    active: bool = True
    """There was a QEMU; False: the definition alone moves."""
    persistent: bool
    autostart: bool = False
    safe_switch: bool = False
    """The target arrives held, and nobody but us lets it run."""
    held: bool = False
    """The guest was held by us, so that it arrives in time."""
    known_there: bool = False
    """The target had a definition of this very VM before: it is not ours to take away."""
    peer_uri: str | None = None
    """The target's libvirt as the source's one reaches it; None: the client manages the move."""
    migrate_uri: str | None = None
    flags: int = 0
    """What libvirt's migration was called with: post-copy is taken up again with the same."""
    speed: int | None = None
    """The limit for moves that the VM had before, in MiB a second; steering and stopping change it."""
    made: tuple[str, ...] = ()
    """Paths of the volumes that were made at the target for this move alone."""
    unplugged: tuple[tuple[str, str], ...] = ()
    """Devices that the guest has let go of for the move: each as XML, and the address of its like at the target."""
    pid: int = 0
    born: int = 0

    @property
    def peer_to_peer(self) -> bool:
        return self.peer_uri is not None
