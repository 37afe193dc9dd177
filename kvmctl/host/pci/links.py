"""The network interfaces of this machine, and what stands on what: bridges, bonds, VLANs. Changes nothing.

Everything is read below `system`. Interfaces of other network namespaces are not to be seen; that there are such is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from kvmctl.host.machine import text_of
from kvmctl.host.pci import addresses
from kvmctl.host.pci.sysfs import UP, carrier, entries, port
from kvmctl.plan.pci.system import Interface

if TYPE_CHECKING:
    from pathlib import Path

BRIDGES = ("bridge", "ovs-system")
BONDS = ("bond", "bonding", "team")
BORN_WITH = {"lo", "sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0"}
"""Interfaces that a network namespace may have from its beginning."""


def interfaces(system: Path, connection: str) -> dict[str, Interface]:
    places = {place.name: place for place in entries(system / "sys/class/net") if place.is_dir()}
    held, routes = addresses.by_interface(system), addresses.default_routes(system)
    below: dict[str, set[str]] = {
        name: {entry.name.removeprefix("lower_") for entry in place.glob("lower_*")} for name, place in places.items()
    }
    for name, place in places.items():
        with suppress(OSError):
            below.setdefault(os.path.basename(os.readlink(place / "master")), set()).add(name)
    parts = frozenset().union(*below.values())
    others = any(name not in parts for name in places) and _others(system)
    return {
        name: Interface(
            name=name,
            pci=carrier(place),
            usb=port(place),
            kind=_kind(place),
            below=tuple(sorted(below[name])),
            addresses=held.get(name, ()),
            default_route=name in routes,
            connection=bool(connection) and connection in held.get(name, ()),
            elsewhere=others
            and bool(carrier(place) or port(place))
            and name not in (*held, *routes, *parts)
            and _is_up(place),
        )
        for name, place in places.items()
    }


def _is_up(place: Path) -> bool:
    return bool(int(text_of(place / "flags") or "0", 16) & UP)


def _others(system: Path) -> bool:
    """Whether other network namespaces have interfaces, beside those that each one is born with."""
    seen: set[str] = set()
    with suppress(OSError):
        seen.add(os.readlink(system / "proc/self/ns/net"))
    for process in entries(system / "proc"):
        if not process.name.isdecimal():
            continue
        try:
            space = os.readlink(process / "ns/net")
        except OSError:  # another user's, or it has ended
            continue
        if space in seen:
            continue
        seen.add(space)
        lines = (text_of(process / "net/dev") or "").splitlines()[2:]
        if not {line.partition(":")[0].strip() for line in lines} <= BORN_WITH:
            return True
    return False


def _kind(place: Path) -> str:
    """What it is beside a card; what ports and members are part of counts, others only stand on what is below."""
    said = text_of(place / "uevent") or ""
    kind = next((line[8:] for line in said.splitlines() if line.startswith("DEVTYPE=")), "")
    if kind in BRIDGES or place.name in BRIDGES or (place / "bridge").is_dir():
        return "bridge"
    return "bond" if kind in BONDS or (place / "bonding").is_dir() else kind
