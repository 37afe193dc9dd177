"""Addresses and routes of this machine's network interfaces. Changes nothing."""

from __future__ import annotations

import fcntl
import socket
import struct
from array import array
from collections import defaultdict
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from kvmctl.host.machine import ROOT, text_of

if TYPE_CHECKING:
    from pathlib import Path

SIOCGIFCONF = 0x8912
ENTRY = 40
"""Bytes of a struct ifreq on 64 bits: a name of 16, then a socket address."""
MOST = 4096
LINK, HOST = 0x20, 0x10
"""Scopes of IPv6 addresses that do not reach beyond the link, or the host."""
REJECTED = 0x0200
"""RTF_REJECT: a route to nowhere."""


def by_interface(system: Path = ROOT) -> dict[str, tuple[str, ...]]:
    """The addresses that reach beyond the link."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, address in _of_version_4(system):
        found[name].append(address)
    for line in (text_of(system / "proc/net/if_inet6") or "").splitlines():
        number, _, _, scope, _, name = line.split()
        if int(scope, 16) not in (LINK, HOST):
            found[name].append(str(IPv6Address(int(number, 16))))
    return {name: tuple(each) for name, each in found.items() if name != "lo"}


def _of_version_4(system: Path) -> list[tuple[str, str]]:
    """The kernel tells them by a call, and in no file; a test's tree has them in one."""
    if system != ROOT:
        lines = (text_of(system / "proc/net/if_inet") or "").splitlines()
        return [(name, address) for name, address in map(str.split, lines)]
    buffer = array("B", bytes(ENTRY * MOST))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = struct.pack("iL", len(buffer), buffer.buffer_info()[0])
        length = struct.unpack("iL", fcntl.ioctl(asking, SIOCGIFCONF, request))[0]
    told = buffer.tobytes()[:length]
    entries = [told[start : start + ENTRY] for start in range(0, length, ENTRY)]
    # A second address has a name behind a colon: eth0:1.
    return [
        (entry[:16].split(b"\0")[0].decode(errors="replace").partition(":")[0], socket.inet_ntoa(entry[20:24]))
        for entry in entries
    ]


def default_routes(system: Path = ROOT) -> frozenset[str]:
    """Interfaces that packets to anywhere go through."""
    found = set()
    for line in (text_of(system / "proc/net/route") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" and not int(fields[3], 16) & REJECTED:
            found.add(fields[0])
    for line in (text_of(system / "proc/net/ipv6_route") or "").splitlines():
        fields = line.split()
        if len(fields) > 9 and not int(fields[0], 16) and fields[1] == "00" and not int(fields[8], 16) & REJECTED:
            found.add(fields[9])
    return frozenset(found - {"lo"})
