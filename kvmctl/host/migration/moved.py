"""How the call for a move went, as seen while it went on; what became of the VM is for `settle` to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvmctl.errors import KvmctlError
    from kvmctl.plan.migration.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How the call went: `problem` is what it raised. `sample` is the last that was seen."""

    sample: Sample
    decisions: tuple[str, ...]
    seconds: float
    postcopy: bool = False
    suspended_at: float | None = None
    """When the guest was held, on the monotonic clock."""
    resumed_at: float | None = None
    """When the target was heard to let it run."""
    final: Mapping[str, Any] = field(default_factory=dict)
    """libvirt's statistics of the whole, if it ended well."""
    problem: KvmctlError | None = None
    still: float = 0.0
    """Seconds since a byte was last seen to move."""
    again: bool = False
    """Ended so that it is begun anew, with writes that wait."""
    over: bool = True
    """The call has come back. While it has not, it may still let a copy run or end one, and nobody else must."""

    def then(self, later: Moved) -> Moved:
        """Both as one; `later` began when this one had ended."""
        decisions = (*self.decisions, *later.decisions)
        final = {**later.final}
        if "time_elapsed" in final:
            final["time_elapsed"] += round(self.seconds * 1000)
        return replace(later, decisions=decisions, seconds=self.seconds + later.seconds, final=final)
