"""Gives USB devices of the host to a VM that exists, running or not, and takes them away again: all, or none.

The guard looks first; what then is done is in `host/hostdevs.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from kvmctl.errors import NotFound, Refused
from kvmctl.host.configurations import Configurations
from kvmctl.host.hostdevs import answer, give, take
from kvmctl.host.undoing import Undo
from kvmctl.host.usb.assigning import judged
from kvmctl.host.usb.inventory import inventory
from kvmctl.plan.usb.choose import entry_of, remarks
from kvmctl.plan.usb.find import find_present, means, own, stands_for
from kvmctl.spec.declare import write
from kvmctl.spec.model.usb import Usb, given, said, selector

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.hostdevs import Of
    from kvmctl.parallel import Work
    from kvmctl.plan.usb.facts import Device, Inventory


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
) -> dict[str, Any]:
    """Give devices to a VM. The answer of `usb attach`; raises with everything as it was."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    known = inventory(host)
    wanted = list(dict.fromkeys(find_present(known, selector(word)) for word in words))
    new = [device for device in wanted if any(_of(known, device, each) is None for each in found.documents)]
    ports = [device.port for device in new]
    told = judged(known, found.documents[0], ports, forced=forced, now=found.running is not None)
    notes = [*(remark for device in new for remark in remarks(known, device)), *(each.what for each in told)]
    if not dry_run:
        with Undo(found.name) as undo:
            for device in new:
                work.check()
                give(found, _element(known, device), device.port, partial(_of, known, device), undo)
    names = [device.port for device in wanted]
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
    """Take devices away from a VM, and wait until they are gone. The answer of `usb detach`."""
    found = Configurations(host, name, now=now, next_boot=next_boot)
    known = inventory(host)
    meant = {_name(found, known, selector(word)): _own(found, known, selector(word)) for word in words}
    if not dry_run:
        for device, of in meant.items():
            work.check()
            take(found, device, of, work)
    return answer(host, found, list(meant), changed=True, notes=[], dry_run=dry_run)


def _element(known: Inventory, device: Device) -> Element:
    element = Element("hostdev")
    write(entry_of(known, device), element)
    return element


def _of(known: Inventory, device: Device, document: Element) -> Element | None:
    """The device of a domain that is this one of the host."""
    return next((element for element, entry in given(document) if stands_for(known, entry, device)), None)


def _own(found: Configurations, known: Inventory, wanted: Usb) -> Of:
    """A search for what is meant in a domain. Raises NotFound if the VM has none, and Refused for several alike."""
    search = own(known, wanted)

    def of(document: Element) -> Element | None:
        there = list(given(document))
        return next((there[index][0] for index in search(entry for _, entry in there)), None)

    has = [entry for document in found.documents for _, entry in given(document)]
    if not search(has):
        told = f"it has {', '.join(dict.fromkeys(map(said, has)))}" if has else "it has none"
        raise NotFound("device-not-found", f"has no USB device {said(wanted)}; {told}", vm=found.name)
    for document in found.documents:
        there = [entry for _, entry in given(document)]
        fits = [said(there[index]) for index in search(there)]
        if len(fits) > 1:
            raise Refused(
                "device-ambiguous",
                f"has {len(fits)} USB devices that are {said(wanted)}: {', '.join(fits)}",
                hint="name one by bus and device, as in 3:7",
                vm=found.name,
            )
    return of


def _name(found: Configurations, known: Inventory, wanted: Usb) -> str:
    """What it is called: by its port, if it is plugged in."""
    entries = [entry for document in found.documents for _, entry in given(document)]
    fits = [entries[index] for index in own(known, wanted)(entries)]
    ports = [device.port for device in known.devices.values() if any(means(entry, device) for entry in fits)]
    return ports[0] if len(ports) == 1 else said(wanted)
