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
    libvirt.VIR_DOMAIN_SHUTDOWN: ("shutting down", "shutting down"),
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
