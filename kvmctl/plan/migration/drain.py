"""Which VM of a host goes where when the host is to be emptied, and in which order. Pure.

Every VM that can move moves, as far as there is room. Large ones are placed first, each where the greatest share of
memory stays free; one that finds no room may send a smaller one elsewhere. Those that are over soonest go first, so
that a host that is about to fail is left by as many as possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A VM that is to leave. `barred` are hosts that it cannot go to, with the reasons."""

    name: str
    uuid: str
    memory: int
    """Bytes that it needs there."""
    sends: int = 0
    """Bytes that its move will send, as far as that can be said before."""
    active: bool = True
    """False: a definition alone, which needs no room."""
    barred: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Room:
    """A host that may take VMs: bytes that are free there, of how many."""

    host: str
    free: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Trip:
    """One VM and where it goes."""

    vm: str
    uuid: str
    target: str
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {"vm": self.vm, "uuid": self.uuid, "target": self.target, "why": self.why}


@dataclass(frozen=True, kw_only=True)
class Stuck:
    """A VM that cannot leave, with a reason for each host."""

    vm: str
    uuid: str
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"vm": self.vm, "uuid": self.uuid, "reasons": list(self.reasons)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`trips` in the order in which they start."""

    trips: tuple[Trip, ...]
    stuck: tuple[Stuck, ...]


def plan(guests: Sequence[Guest], rooms: Sequence[Room]) -> Plan:
    """Where each VM goes. The same answer for the same VMs and hosts, in whatever order they are given."""
    hosts = {room.host: room for room in sorted(rooms, key=lambda room: room.host)}
    left = {room.host: room.free for room in rooms}
    homes: dict[str, str] = {}
    by_size = sorted(guests, key=lambda guest: (-_needs(guest), guest.name, guest.uuid))
    for guest in by_size:
        home = _best(guest, hosts, left) or _make_room(guest, by_size, hosts, left, homes)
        if home is not None:
            homes[guest.uuid] = home
            left[home] -= _needs(guest)
    by_time = sorted(guests, key=lambda guest: (guest.sends, _needs(guest), guest.name, guest.uuid))
    return Plan(
        trips=tuple(
            Trip(vm=guest.name, uuid=guest.uuid, target=homes[guest.uuid], why=_why(guest, hosts, homes[guest.uuid]))
            for guest in by_time
            if guest.uuid in homes
        ),
        stuck=tuple(
            Stuck(vm=guest.name, uuid=guest.uuid, reasons=tuple(_reasons(guest, hosts, left)))
            for guest in sorted(guests, key=lambda guest: guest.name)
            if guest.uuid not in homes
        ),
    )


def _needs(guest: Guest) -> int:
    return guest.memory if guest.active else 0


def _best(guest: Guest, hosts: Mapping[str, Room], left: Mapping[str, int], *, but: str = "") -> str | None:
    """The host of which the greatest share stays free; the first by name of several."""
    fit = [
        host
        for host in hosts
        if host != but and not guest.barred.get(host) and (not _needs(guest) or left[host] >= _needs(guest))
    ]
    return max(fit, key=lambda host: (left[host] - _needs(guest)) / max(1, hosts[host].total), default=None)


def _make_room(
    guest: Guest, guests: Sequence[Guest], hosts: Mapping[str, Room], left: dict[str, int], homes: dict[str, str]
) -> str | None:
    """Send one that has a place elsewhere, the smallest that makes enough room; the host that is free then."""
    for other in reversed(guests):
        home = homes.get(other.uuid)
        if home is None or guest.barred.get(home) or left[home] + _needs(other) < _needs(guest):
            continue
        elsewhere = _best(other, hosts, left, but=home)
        if elsewhere is not None:
            homes[other.uuid] = elsewhere
            left[elsewhere] -= _needs(other)
            left[home] += _needs(other)
            return home
    return None


def _why(guest: Guest, hosts: Mapping[str, Room], home: str) -> str:
    open_to = [host for host in hosts if not guest.barred.get(host)]
    if open_to == [home]:
        return "the only host it can go to"
    return "most room is left there" if guest.active else "a definition needs no room"


def _reasons(guest: Guest, hosts: Mapping[str, Room], left: Mapping[str, int]) -> list[str]:
    """For each host, why not."""
    if not hosts:
        return ["there is no other host"]
    full = "{host}: needs {needs} MiB, and {left} MiB are left there"
    return [
        f"{host}: {'; '.join(guest.barred[host])}"
        if guest.barred.get(host)
        else full.format(host=host, needs=-(-_needs(guest) >> 20), left=max(0, left[host]) >> 20)
        for host in hosts
    ]
