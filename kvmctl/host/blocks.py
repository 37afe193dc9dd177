"""Has the guard look at block devices of this machine that a VM has as disks, before it is made and before it starts.

Asks nobody for VMs without such disks. Of another machine nothing is known of its disks, and nothing is said.
"""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.host import many
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.machine import ROOT, is_here
from kvmctl.host.pci.sysfs import entries
from kvmctl.host.pci.uses import blocks, claimed
from kvmctl.host.tenants import definition as definition_of
from kvmctl.plan.blocks import Given, check
from kvmctl.plan.pci.guard import refusal
from kvmctl.plan.pci.system import System
from kvmctl.spec.model.disk import block_sources
from kvmctl.spec.model.scsi import given
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.finding import Finding

GLANCES, GLANCE = 3, 0.05
"""How often, and how many seconds apart, a disk must be claimed: whoever looks at one claims it for a moment."""


def look(host: Host, definition: Element, *, forced: Collection[str] = (), start: bool = True) -> tuple[Finding, ...]:
    """Raise for all disks that the VM cannot have; with `start` also for those that others run with."""
    if not any(block_sources(definition)) or not is_here(host.target):
        return ()
    disks = tuple(_given(definition))
    if not disks:
        return ()
    seen = blocks(ROOT, claims=False)
    for disk in disks:
        if disk.name in seen and not disk.readonly:
            seen[disk.name] = replace(seen[disk.name], claimed=_claimed(disk.name))
    others = _others(host, definition.findtext("uuid") or "") if start else {}
    names = {_name(path) for path in forced if path.startswith("/dev/")}
    found = check(System(blocks=seen), disks, others=others, forced=names)
    error = refusal(found, vm=definition.findtext("name") or "")
    if error is not None:
        raise error
    return found


def _given(definition: Element) -> Iterator[Given]:
    """The disks that are there. One that is not is libvirt's to complain about."""
    for element, path in block_sources(definition):
        name = _name(path)
        if name:
            yield Given(
                path=path,
                name=name,
                readonly=element.get("device") == "cdrom" or element.find("readonly") is not None,
                shareable=element.find("shareable") is not None,
            )


def _units(definition: Element) -> Iterator[Given]:
    """The disks that it drives itself, as SCSI devices. Whether it may have them is judged by `host/scsi/`."""
    for _, entry in given(definition):
        there = entries(ROOT / "sys/class/scsi_device" / (entry.address or "") / "device/block")
        for place in there[:1]:
            yield Given(
                path=f"/dev/{place.name}",
                name=place.name,
                readonly=bool(entry.readonly),
                shareable=bool(entry.shareable),
            )


def _others(host: Host, uuid: str) -> dict[str, list[Given]]:
    """The disks of the other VMs that run."""
    found: dict[str, list[Given]] = defaultdict(list)
    with translated(doing="look at the disks of its VMs", host=host.name):
        domains = host.conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        for xml in map(parse, filter(None, many.ask(domains, definition_of))):
            if xml.findtext("uuid") != uuid:
                found[xml.findtext("name") or ""] += (*_given(xml), *_units(xml))
    return found


def _name(path: str) -> str:
    """The kernel's name of the block device that a path leads to; empty if none."""
    place = ROOT / path.lstrip("/")
    try:
        status = place.stat()
        if stat.S_ISBLK(status.st_mode):
            number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
            return (ROOT / "sys/dev/block" / number).resolve(strict=True).name
        name = place.resolve().name
    except (OSError, RuntimeError, ValueError):
        return ""
    return name if (ROOT / "sys/class/block" / name).exists() else ""


def _claimed(name: str) -> bool:
    """Whether something has it for itself, other than what is known to be made of it."""
    if entries(ROOT / "sys/class/block" / name / "holders"):
        return False
    for glance in range(GLANCES):
        if glance:
            time.sleep(GLANCE)
        if not claimed(ROOT, name):
            return False
    return True
