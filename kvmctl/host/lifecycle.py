"""Verbs on one VM of a host that are done when libvirt says so; those that wait for a guest are in `waiting`.

Each gives the object that the command answers with: `name uuid state host`, and whether anything `changed`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from kvmctl.errors import Refused
from kvmctl.host import deeds, states
from kvmctl.host.domains import find, summary

if TYPE_CHECKING:
    from kvmctl.host.connection import Host


def start(host: Host, name: str, *, paused: bool = False, forced: Collection[str] = ()) -> dict[str, Any]:
    """Start a VM; one that runs already stays as it is. Raises Conflict for CPUs that a running VM has alone."""
    domain = find(host, name)
    before = deeds.start(host, domain, paused=paused, forced=forced)
    return {**summary(host, domain, before or (states.PAUSED if paused else states.RUNNING)), "changed": not before}


def reset(host: Host, name: str) -> dict[str, Any]:
    """Press the reset button of a running VM."""
    domain = find(host, name)
    deeds.reset(domain)
    return {**summary(host, domain), "changed": True}


def pause(host: Host, name: str) -> dict[str, Any]:
    """Hold a VM's vCPUs."""
    domain = find(host, name)
    changed = deeds.pause(domain)
    return {**summary(host, domain, states.PAUSED), "changed": changed}


def resume(host: Host, name: str) -> dict[str, Any]:
    """Let a paused VM go on."""
    domain = find(host, name)
    changed = deeds.resume(domain)
    return {**summary(host, domain, states.RUNNING), "changed": changed}


def autostart(host: Host, name: str, *, on: bool) -> dict[str, Any]:
    """Have a VM started with its host, or no longer."""
    domain = find(host, name)
    if host.embedded and on:
        raise Refused(
            "not-supported",
            "the embedded host has no daemon that could start it with the machine",
            hint=f"start it from a systemd unit or cron's @reboot: kvmctl start {domain.name()}",
            vm=domain.name(),
        )
    changed = deeds.set_autostart(domain, on=on)
    return {**summary(host, domain), "autostart": on, "changed": changed}
