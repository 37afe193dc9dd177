"""What was found at both ends before a move: the findings for people, and the facts that later decisions rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from kvmctl.plan.migration.finding import VERDICTS

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding, Verdict

Sharing = Literal["shared", "separate", "unknown", "readonly", "empty"]


@dataclass(frozen=True, kw_only=True)
class Looked:
    """`findings` are in the order they are told. Everything else is only true where no finding is a blocker."""

    findings: tuple[Finding, ...]
    running: bool = True
    persistent: bool = True
    autostart: bool = False
    memory: int = 0
    """Bytes that the guest has."""
    peer_uri: str | None = None
    """The target's libvirt as the source's libvirt has reached it; None: it cannot."""
    migrate_uri: str | None = None
    disks: Mapping[str, Sharing] = field(default_factory=dict)
    """Target (vda) -> whether both hosts see the same storage, by evidence."""
    copied: int = 0
    """Bytes of the disks that go along."""
    lockable: bool = True
    """QEMU's image locks hold between the hosts for every writable disk; True also where there is none."""
    unsafe: bool = False
    """All that libvirt itself would refuse was shown to be safe."""
    no_postcopy: str = ""
    """Why post-copy is impossible, or nothing."""
    no_multifd: str = ""
    no_xbzrle: str = ""
    likes: Mapping[str, str] = field(default_factory=dict)
    """The devices of the source that it has and that can go, and what it gets for each at the target."""
    carried: tuple[str, ...] = ()
    """Those of them that it keeps until then."""
    cores: int = 1
    """Free host CPUs of the weaker end."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return max((finding.verdict for finding in self.findings), key=VERDICTS.index, default="ok")

    @property
    def blockers(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict == "blocker")
