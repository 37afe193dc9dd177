"""The SCSI devices of this machine, as its kernel shows them in sysfs. Changes nothing.

Everything is read below `system`, which is / but for tests.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from kvmctl.host.machine import ROOT, number_of, text_of
from kvmctl.host.pci.sysfs import UNIT, entries, port, real
from kvmctl.plan.scsi.facts import KINDS, Device
from kvmctl.spec.model.scsi import NODE, wwn_of

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = "sys/bus/scsi/devices"
CLASSES = ("block", "scsi_tape", "scsi_changer", "scsi_generic")
"""What a device may have, each with the kernel's names for it."""
LINKS = ("disk/by-id", "disk/by-path", "tape/by-id", "tape/by-path")
SECTOR = 512
"""Bytes of what sysfs counts sizes in, whatever the disk's own sectors are."""
HEAD = 4
"""Bytes of a page of vital product data before what it says."""


def devices(system: Path = ROOT, *, own: bool = False) -> dict[str, Device]:
    """All of them by address; with `own`, whether whoever calls has the right to use them."""
    links = _links(system)
    return {
        place.name: _device(system, place, links, own=own)
        for place in entries(system / DEVICES)
        if UNIT.fullmatch(place.name)
    }


def _device(system: Path, place: Path, links: dict[str, list[str]], *, own: bool) -> Device:
    names = {kind: [each.name for each in entries(place / kind)] for kind in CLASSES}
    nodes = tuple(name for each in names.values() for name in each if NODE.fullmatch(name))
    block, generic = "".join(names["block"][:1]), "".join(names["scsi_generic"][:1])
    sectors = number_of(place / "block" / block / "size") if block else None
    return Device(
        address=place.name,
        kind=KINDS.get(number_of(place / "type") or 0, "other"),
        vendor=text_of(place / "vendor") or "",
        model=text_of(place / "model") or "",
        serial=_serial(place) or _of_stick(place),
        wwn=_wwn(text_of(place / "wwid") or ""),
        block=block,
        size=None if sectors is None else sectors * SECTOR,
        nodes=nodes,
        links=tuple(sorted(link for node in nodes for link in links.get(node, ()))),
        generic=generic,
        usable=os.access(system / "dev" / generic, os.R_OK | os.W_OK) if own and generic else None,
    )


def _serial(place: Path) -> str:
    """The unit's serial number, page 0x80; empty where it does not tell one, or not in letters."""
    try:
        said = (place / "vpd_pg80").read_bytes()
    except OSError:
        return ""
    text = said[HEAD : HEAD + int.from_bytes(said[2:HEAD], "big")].decode("ascii", "replace").strip(" \0")
    return text if text.isprintable() and text.isascii() else ""


def _of_stick(place: Path) -> str:
    """The serial number of the USB device that it hangs on, with target and LUN, as udev writes it: SN-1-0:0. Linux
    does not ask disks behind USB for one of their own, since some hang then.
    """
    there = real(place)
    home = next((above for above in there.parents if above.name == port(place)), None)
    serial = text_of(home / "serial") if home is not None else None
    return f"{serial}-{':'.join(place.name.split(':')[2:])}" if serial else ""


def _wwn(text: str) -> str:
    """What Linux has found unique of it; names of vendors' own making are no WWN."""
    try:
        return wwn_of(text)
    except ValueError:
        return ""


def _links(system: Path) -> dict[str, list[str]]:
    """The links below /dev by the name of what each leads to."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in LINKS:
        for link in entries(system / "dev" / folder):
            try:
                found[os.path.basename(os.readlink(link))].append(f"/dev/{folder}/{link.name}")
            except OSError:
                continue  # it goes just now
    return found
