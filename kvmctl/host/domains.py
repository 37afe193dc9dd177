"""VMs as libvirt has them: finding one, its state, and all of them in one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.errors import NotFound
from kvmctl.host import states
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmctl.host.connection import Host


def list_vms(host: Host) -> list[dict[str, Any]]:
    """All VMs of a host by name: `name uuid state reason id host`. One round trip for any number of them.

    The state alone is asked for: whatever needs QEMU's monitor would wait for a QEMU that hangs.
    """
    vms = [_record(host.name, domain, answer) for domain, answer in all_states(host)]
    vms.sort(key=_name)
    return vms


def all_states(host: Host) -> list[tuple[libvirt.virDomain, dict[str, int]]]:
    """Every domain with its state, in one round trip."""
    with translated(host=host.name):
        found: list[tuple[libvirt.virDomain, dict[str, int]]] = host.conn.getAllDomainStats(
            libvirt.VIR_DOMAIN_STATS_STATE
        )
    return found


def find(host: Host, name: str) -> libvirt.virDomain:
    """The domain of that name or UUID."""
    if not _can_be_a_name(name):
        raise not_found(name, host.name, ())
    with translated(vm=name, host=host.name):
        if looks_like_uuid(name):
            try:
                return host.conn.lookupByUUIDString(name)
            except libvirt.libvirtError as problem:
                if problem.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        try:
            return host.conn.lookupByName(name)
        except libvirt.libvirtError as problem:
            if problem.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
    raise not_found(name, host.name, [domain.name() for domain, _ in all_states(host)])


def not_found(name: str, host: str, names: Iterable[str]) -> NotFound:
    """The error for a name that the host does not have, with the nearest one that it has."""
    from difflib import get_close_matches

    near = get_close_matches(name, names, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"kvmctl list -H {host} shows which there are"
    return NotFound("vm-not-found", f"{host} has no VM of that name", hint=hint, vm=printable(name))


def _can_be_a_name(name: str) -> bool:
    """False for what libvirt cannot even be asked for: bytes from the command line that are no text, or a zero byte."""
    return "\0" not in name and name.encode(errors="ignore").decode() == name


def looks_like_uuid(name: str) -> bool:
    return len(name) == 36 and name.count("-") == 4 and not set(name) - set("0123456789abcdefABCDEF-")


def printable(name: str) -> str:
    """A name as it can be shown: what a person typed may hold anything."""
    return name if name.isprintable() else "".join(c if c.isprintable() else "?" for c in name)


def state_of(domain: libvirt.virDomain) -> str:
    """One of `states.STATES`."""
    with translated(vm=domain.name()):
        state, reason = domain.state()
    return states.words(state, reason)[0]


def summary(host: Host, domain: libvirt.virDomain, state: str | None = None) -> dict[str, Any]:
    """The fields that every answer about a VM has. A known `state` saves the round trip that asks for it."""
    return {
        "name": domain.name(),
        "uuid": domain.UUIDString(),
        "state": state or state_of(domain),
        "host": host.name,
    }


def _record(host: str, domain: libvirt.virDomain, answer: dict[str, int]) -> dict[str, Any]:
    state, reason = states.words(answer.get("state.state", 0), answer.get("state.reason", 0))
    number = domain.ID()
    return {
        "name": domain.name(),
        "uuid": domain.UUIDString(),
        "state": state,
        "host": host,
        "reason": reason or None,
        "id": number if number >= 0 else None,
    }


def _name(vm: dict[str, Any]) -> str:
    name: str = vm["name"]
    return name
