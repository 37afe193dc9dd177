"""libvirt's states, reasons and events in our words: every one that libvirt has, and those that matter by name."""

from __future__ import annotations

import libvirt
import pytest

from kvmctl.host import states

KINDS = {
    "RUNNING": libvirt.VIR_DOMAIN_RUNNING,
    "PAUSED": libvirt.VIR_DOMAIN_PAUSED,
    "SHUTDOWN": libvirt.VIR_DOMAIN_SHUTDOWN,
    "SHUTOFF": libvirt.VIR_DOMAIN_SHUTOFF,
    "CRASHED": libvirt.VIR_DOMAIN_CRASHED,
    "PMSUSPENDED": libvirt.VIR_DOMAIN_PMSUSPENDED,
}
NOT_REASONS = {"DEFAULT", "ACPI_POWER_BTN", "GUEST_AGENT", "INITCTL", "SIGNAL", "PARAVIRT", "DISK_UNKNOWN"}


def reasons(kind: str) -> dict[str, int]:
    prefix = f"VIR_DOMAIN_{kind}_"
    found = {name.removeprefix(prefix): value for name, value in vars(libvirt).items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if name not in NOT_REASONS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_reason_has_words(kind: str) -> None:
    for name, reason in reasons(kind).items():
        state, said = states.words(KINDS[kind], reason)
        assert state in states.STATES
        assert bool(said) or name == "UNKNOWN", f"{kind} {name}"


@pytest.mark.parametrize(
    ("kind", "reason", "state"),
    [
        ("RUNNING", "BOOTED", "running"),
        ("RUNNING", "POSTCOPY", "migrating"),
        ("PAUSED", "USER", "paused"),
        ("PAUSED", "IOERROR", "paused"),
        ("PAUSED", "MIGRATION", "migrating"),
        ("PAUSED", "POSTCOPY", "migrating"),
        ("PAUSED", "CRASHED", "crashed"),
        ("SHUTDOWN", "USER", "running"),
        ("SHUTOFF", "SHUTDOWN", "stopped"),
        ("SHUTOFF", "SAVED", "saved"),
        ("SHUTOFF", "CRASHED", "stopped"),
        ("CRASHED", "PANICKED", "crashed"),
        ("PMSUSPENDED", "UNKNOWN", "paused"),
    ],
)
def test_a_state(kind: str, reason: str, state: str) -> None:
    assert states.words(KINDS[kind], reasons(kind)[reason])[0] == state


def test_what_a_newer_libvirt_may_say() -> None:
    assert states.words(libvirt.VIR_DOMAIN_RUNNING, 99) == ("running", "")
    assert states.words(99, 99)[0] in states.STATES
    assert states.after_event(libvirt.VIR_DOMAIN_EVENT_STOPPED, 99) == ("stopped", "")
    assert states.words(libvirt.VIR_DOMAIN_BLOCKED, 0) == ("running", "")


EVENTS = ("STARTED", "SUSPENDED", "RESUMED", "STOPPED", "SHUTDOWN", "PMSUSPENDED", "CRASHED")


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_gives_a_state(event: str) -> None:
    number = getattr(libvirt, f"VIR_DOMAIN_EVENT_{event}")
    details = [value for name, value in vars(libvirt).items() if name.startswith(f"VIR_DOMAIN_EVENT_{event}_")]
    for detail in details:
        found = states.after_event(number, detail)
        assert found is not None
        assert found[0] in states.STATES


@pytest.mark.parametrize(
    ("event", "detail", "state"),
    [
        ("STARTED", "STARTED_BOOTED", ("running", "started")),
        ("SUSPENDED", "SUSPENDED_MIGRATED", ("migrating", "migration")),
        ("SUSPENDED", "SUSPENDED_IOERROR", ("paused", "disk error")),
        ("RESUMED", "RESUMED_UNPAUSED", ("running", "resumed")),
        ("STOPPED", "STOPPED_SAVED", ("saved", "saved")),
        ("STOPPED", "STOPPED_DESTROYED", ("stopped", "forced off")),
        ("SHUTDOWN", "SHUTDOWN_GUEST", ("running", "shutting down")),
        ("CRASHED", "CRASHED_PANICKED", ("crashed", "the guest panicked")),
    ],
)
def test_after_an_event(event: str, detail: str, state: tuple[str, str]) -> None:
    number, more = (getattr(libvirt, f"VIR_DOMAIN_EVENT_{name}") for name in (event, detail))
    assert states.after_event(number, more) == state


@pytest.mark.parametrize("event", ["DEFINED", "UNDEFINED"])
def test_an_event_about_the_definition(event: str) -> None:
    assert states.after_event(getattr(libvirt, f"VIR_DOMAIN_EVENT_{event}"), 0) is None
