"""Gives SCSI devices of the host to a VM that exists, running or not, and takes them away again: all, or none.

The guard looks first; what then is done is in `host/hostdevs.py`. A VM without a SCSI controller gets one before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from kvmctl.errors import NotFound
from kvmctl.host.configurations import Configurations
from kvmctl.host.hostdevs import answer, give, take
from kvmctl.host.redefining import redefine
from kvmctl.host.scsi.assigning import judged
from kvmctl.host.scsi.inventory import inventory
from kvmctl.host.undoing import Undo
from kvmctl.plan.scsi.choose import remarks
from kvmctl.plan.scsi.find import find_present, is_same, means
from kvmctl.plan.scsi.identity import identities
from kvmctl.spec.declare import write
from kvmctl.spec.metadata import keep_devices
from kvmctl.spec.model.devices import Controller
from kvmctl.spec.model.scsi import Scsi, given, noted, said, selector

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.scsi.facts import Device, Inventory


def attach(
    host: Host,
    name: str,
    words: Sequence[str],
    work: Work,
    *,
    now: bool = False,
    next_boot: bool = False,
    forced: Collection[str] = (),
    dry_run: bool = False,
    readonly: bool = False,
    shareable: bool = False,
) -> dict[str, Any]:
    """Give devices to a VM. The answer of `scsi attach`; raises with everything as it was."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    known = inventory(host)
    wanted = list(dict.fromkeys(find_present(known, selector(word)) for word in words))
    new = [device for device in wanted if any(_of(device, each) is None for each in found.documents)]
    flags = Scsi(readonly=readonly or None, shareable=shareable or None)
    entries = [replace(flags, address=device.address) for device in new]
    told = judged(known, found.documents[0], entries, forced=forced, now=found.running is not None)
    notes = [*(remark for device in new for remark in remarks(device)), *(each.what for each in told)]
    if not dry_run:
        with Undo(found.name) as undo:
            if new:
                give(found, _element("controller", Controller(model="virtio-scsi")), "a SCSI controller", _bus, undo)
            for device, entry in zip(new, entries):
                work.check()
                give(found, _element("hostdev", entry), device.address, partial(_of, device), undo)
            if new and found.definition is not None:
                devices = identities(known, [device.address for device in new])
                redefine(found.domain, lambda document: keep_devices(document, devices))
    names = [device.address for device in wanted]
    return answer(host, found, names, changed=bool(new), notes=notes, dry_run=dry_run)


def detach(
    host: Host,
    name: str,
    words: Sequence[str],
    work: Work,
    *,
    now: bool = False,
    next_boot: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Take devices away from a VM, and wait until they are gone. The answer of `scsi detach`."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    known = inventory(host)
    addresses = list(dict.fromkeys(_own(found, known, selector(word)) for word in words))
    if not dry_run:
        for address in addresses:
            work.check()
            take(found, address, partial(_at, address), work)
        if found.definition is not None:
            redefine(found.domain, lambda document: keep_devices(document, (), gone=addresses))
    return answer(host, found, addresses, changed=True, notes=[], dry_run=dry_run)


def _element(tag: str, value: Any) -> Element:
    element = Element(tag)
    write(value, element)
    return element


def _bus(document: Element) -> Element | None:
    return document.find("devices/controller[@type='scsi']")


def _at(address: str, document: Element) -> Element | None:
    return next((element for element, entry in given(document) if entry.address == address), None)


def _of(device: Device, document: Element) -> Element | None:
    """The device of a domain that is this one of the host."""
    kept = noted(document)
    return next((element for element, entry in given(document) if is_same(kept[entry.address or ""], device)), None)


def _own(found: Configurations, known: Inventory, wanted: Scsi) -> str:
    """The address of what is meant, of those that the VM has; it may be gone from the host. Raises NotFound."""
    there = {address: was for document in found.documents for address, was in noted(document).items()}
    if wanted.address in there:
        return wanted.address
    devices = [device for device in known.devices.values() if means(wanted, device)]
    for address, was in there.items():
        words = (wanted.wwn, wanted.serial)
        if any(word and word in was.values() for word in words) or any(is_same(was, device) for device in devices):
            return address
    has = f"it has {', '.join(there)}" if there else "it has none"
    raise NotFound("device-not-found", f"has no SCSI device {said(wanted)}; {has}", vm=found.name)
