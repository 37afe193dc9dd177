"""What a migration answers with: its result, or the error that says what became of the VM. Asks no host anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.errors import HostUnreachable, Impossible, Interrupted, KvmctlError, NotFound
from kvmctl.host.library import libvirt
from kvmctl.host.migration.sides import word_of
from kvmctl.host.migration.tls import explained

if TYPE_CHECKING:
    from kvmctl.host.migration.journal import Journal
    from kvmctl.host.migration.moved import Moved
    from kvmctl.host.migration.settle import Settled
    from kvmctl.plan.migration.forecast import Forecast
    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.means import Means


def blocked(looked: Looked, name: str, target: str) -> Impossible:
    """All that stands in the way."""
    reasons = [{"code": f.code, "message": f.what, "hint": f.hint} for f in looked.blockers]
    first = looked.blockers[0]
    more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return Impossible(
        "migration-blocked",
        f"cannot be migrated to {target}: {first.what}{more}",
        reasons=reasons,
        hint=first.hint if len(reasons) == 1 else "",
        vm=name,
    )


def failed(problem: KvmctlError | None, settled: Settled, entry: Journal, *, called_off: bool) -> KvmctlError:
    """Why it did not move or does not run, and what had to be done. `called_off`: somebody else has ended it."""
    encrypted = bool(entry.flags & libvirt.VIR_MIGRATE_TLS)
    problem = explained(problem) if problem and encrypted else problem
    error = problem or KvmctlError("migration-failed", "did not move", vm=entry.name)
    if settled.outcome == "stayed" and called_off and not isinstance(error, Interrupted):
        error = Interrupted("interrupted", "was called off from elsewhere", vm=entry.name)
    if type(error) in (KvmctlError, NotFound):
        # What libvirt has said of a copy at the target is not about the VM.
        error = KvmctlError("migration-failed", error.message, vm=entry.name)
    if entry.active and settled.state in ("off", "absent"):
        host = entry.target_name if settled.outcome == "moved" else entry.source_name
        ended = f"moved to {host}, and ended there" if settled.outcome == "moved" else "ended while it was being moved"
        hint = f"kvmctl start {entry.name} -H {host}"
        error = KvmctlError("migration-failed", ended, hint=hint, vm=entry.name, details=[error.message])
        error = error.of_interrupted_work()
    error.details = (*error.details, *settled.notes)
    return error


def stuck(entry: Journal) -> KvmctlError:
    """libvirt's call does not come back: nobody may touch the VM until it has ended, with this process at last."""
    return HostUnreachable(
        "migration-unsettled",
        "libvirt was told to stop the move, and does not come back",
        hint=f"kvmctl migrate --recover {entry.name}",
        vm=entry.name,
    ).of_interrupted_work()


def result(
    entry: Journal, moved: Moved, settled: Settled, means: Means, forecast: Forecast | None, room: tuple[str, ...]
) -> dict[str, Any]:
    """The fields that kvmctl-migrate(1) documents. `room` tells which other VMs were moved out of the way."""
    last, final = moved.sample, moved.final
    notes = [f"on the way: {moved.problem.message}"] if moved.problem else []
    return {
        "name": entry.name,
        "uuid": entry.uuid,
        "state": word_of(settled.state),
        "host": entry.target_name,
        "source": entry.source_name,
        "total_ms": final.get("time_elapsed") or round(moved.seconds * 1000),
        "downtime_ms": _pause(moved, settled),
        "bytes": final.get("data_processed", last.processed + last.disk_processed),
        "iterations": final.get("memory_iteration", last.iteration),
        "means": list(means.reasons),
        "decisions": list(moved.decisions),
        "notes": [*notes, *settled.notes, *room],
        "forecast": forecast.as_dict() if forecast else None,
    }


def _pause(moved: Moved, settled: Settled) -> int | None:
    """Milliseconds in which the guest ran nowhere; None where nobody has seen it.

    Of post-copy libvirt itself counts the source's part of it alone.
    """
    resumed_at = settled.resumed_at or (moved.resumed_at if moved.postcopy else None)
    if moved.suspended_at is not None and resumed_at is not None:
        return max(0, round((resumed_at - moved.suspended_at) * 1000))
    downtime: int | None = moved.final.get("downtime")
    return downtime
