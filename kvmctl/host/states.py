"""libvirt's states and reasons in the words that people and scripts read. The numbers are libvirt's ABI."""

from __future__ import annotations

from kvmctl.host.library import libvirt

RUNNING, PAUSED, STOPPED, SAVED, CRASHED, MIGRATING = (
    "running",
    "paused",
    "stopped",
    "saved",
    "crashed",
    "migrating",
)
STATES = (RUNNING, PAUSED, STOPPED, SAVED, CRASHED, MIGRATING)
OFF = frozenset((STOPPED, SAVED))
"""Of a VM in one of these no QEMU process runs."""
SHUTTING_DOWN = "shutting down"

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: STOPPED,
    libvirt.VIR_DOMAIN_RUNNING: RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PAUSED,
}
_BY_REASON = {
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): MIGRATING,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): MIGRATING,
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): MIGRATING,
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): CRASHED,
    (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SAVED): SAVED,
}
_REASONS = {
    libvirt.VIR_DOMAIN_RUNNING: (
        *("", "started", "migrated here", "restored", "reverted to a snapshot", "resumed", "migration was cancelled"),
        *("saving was cancelled", "woken up", "was paused after a crash", "post-copy migration", "post-copy failed"),
    ),
    libvirt.VIR_DOMAIN_PAUSED: (
        *("", "by a user", "migration", "being saved", "being dumped", "disk error", "watchdog"),
        *(
            "reverted to a snapshot",
            "shutting down",
            "snapshot being made",
            "crashed",
            "starting",
            "post-copy migration",
            "post-copy failed",
        ),
        "QEMU reported an error",
    ),
    libvirt.VIR_DOMAIN_SHUTDOWN: (SHUTTING_DOWN, SHUTTING_DOWN),
    libvirt.VIR_DOMAIN_SHUTOFF: (
        *("", "shut down", "forced off", "crashed", "migrated away", "saved", "failed to start"),
        *("reverted to a snapshot", "the daemon lost it"),
    ),
    libvirt.VIR_DOMAIN_CRASHED: ("", "the guest panicked"),
    libvirt.VIR_DOMAIN_PMSUSPENDED: ("asleep (the guest suspended itself)",) * 2,
}


def words(state: int, reason: int) -> tuple[str, str]:
    """The state as one of STATES, and the reason for it; the reason is empty where libvirt has none."""
    reasons = _REASONS.get(state, ())
    said = reasons[reason] if 0 <= reason < len(reasons) else ""
    return _BY_REASON.get((state, reason)) or _STATES.get(state, STOPPED), said


_AFTER_EVENT = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: (libvirt.VIR_DOMAIN_RUNNING, (1, 2, 3, 4, 8)),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: (libvirt.VIR_DOMAIN_PAUSED, (1, 2, 5, 6, 0, 7, 0, 12, 13)),
    libvirt.VIR_DOMAIN_EVENT_RESUMED: (libvirt.VIR_DOMAIN_RUNNING, (5, 2, 4, 10, 11)),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: (libvirt.VIR_DOMAIN_SHUTOFF, (1, 2, 3, 4, 5, 6, 7)),
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: (libvirt.VIR_DOMAIN_SHUTDOWN, (1, 1, 1)),
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: (libvirt.VIR_DOMAIN_PMSUSPENDED, (0, 0)),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: (libvirt.VIR_DOMAIN_CRASHED, (1, 1)),
}
"""The state a VM is in after a lifecycle event, and by the event's detail the reason for it."""


def after_event(event: int, detail: int) -> tuple[str, str] | None:
    """What `words` says after a lifecycle event; None if the event is about the definition and not the state."""
    if event not in _AFTER_EVENT:
        return None
    state, reasons = _AFTER_EVENT[event]
    return words(state, reasons[detail] if 0 <= detail < len(reasons) else 0)
