"""Makes and removes mediated devices (mdevs): by libvirt alone, so over any connection. libvirt wants mdevctl there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement

from kvmctl.errors import Conflict, Refused
from kvmctl.host.connection import or_nothing, translated
from kvmctl.host.pci.holders import held
from kvmctl.host.pci.inventory import inventory
from kvmctl.host.pci.nodes import MDEV, name_of, uuid_of
from kvmctl.host.undoing import Undo
from kvmctl.plan.pci.facts import Mdev
from kvmctl.plan.pci.find import find
from kvmctl.plan.pci.listing import mdev_told
from kvmctl.plan.pci.mediated import known, parent
from kvmctl.spec.xmltext import render

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt

SEEN_SECONDS, GLANCE = 5.0, 0.05
"""How long libvirt may take to see what mdevctl has done."""
Undoing = Callable[[Callable[[], object]], object]


def create(
    host: Host, kind: str, *, uuid: str, address: str, node: int | None, define: bool, autostart: bool
) -> dict[str, Any]:
    """Have an mdev of a type. The answer of `pci mdev create`; what fails leaves all as it was."""
    facts = inventory(host)
    before = facts.mdevs.get(uuid)
    if before is None:
        nodes = frozenset() if node is None else frozenset({node})
        wanted = Mdev(uuid=uuid, type=kind, parent=parent(facts, kind, nodes=nodes, address=address).address)
    elif before.type == kind and (not address or find(facts, address) == before.parent):
        wanted = replace(before, active=True)
    else:
        what = f"{facts.host} has an mdev {uuid} already: {before.type}, of {before.parent}"
        raise Conflict("mdev-exists", what, hint="without --uuid it gets one of its own")
    wanted = replace(wanted, defined=wanted.defined or define or autostart, autostart=wanted.autostart or autostart)
    with Undo("") as undo:
        provide(host, wanted, undo.add)
    return {**mdev_told(facts, wanted), "changed": wanted != before}


def delete(host: Host, uuid: str) -> dict[str, Any]:
    """Remove an mdev and its definition. The answer of `pci mdev delete`. Raises Refused while a VM has it."""
    facts = inventory(host)
    gone = replace(known(facts, uuid), active=False, defined=False, autostart=False)
    for holder in facts.holders.get(uuid, ()):
        raise Refused(
            "device-refused",
            f"{holder.vm} {'runs' if holder.running else 'is defined'} with the mdev {uuid}",
            hint=f"kvmctl pci detach {holder.vm} {uuid}, or delete the VM",
        )
    with translated(doing=f"delete the mdev {uuid}", host=host.name):
        device = _found(host, uuid)
        if device is not None:
            persistent = device.isPersistent()
            if device.isActive():
                _stop(host, device)
            if persistent:
                _forget(host, device)
    return {**mdev_told(facts, gone), "changed": True}


def provide(host: Host, wanted: Mdev, undo: Undoing) -> None:
    """Have an mdev there, and defined and with autostart if that is wanted; `undo` gets what takes each step back."""

    def done(step: Callable[..., object], *arguments: object) -> None:
        undo(partial(_unless_taken, host, wanted.uuid, partial(step, *arguments)))

    with translated(doing=f"make an mdev of the type {wanted.type}", host=host.name):
        device = _found(host, wanted.uuid)
        if device is None and not wanted.defined:
            device = host.conn.nodeDeviceCreateXML(document(wanted), 0)
            done(_stop, host, device)
            return
        if device is None or (wanted.defined and not device.isPersistent()):
            device = host.conn.nodeDeviceDefineXML(document(wanted), 0)
            done(_forget, host, device)
        if wanted.autostart and not device.autostart():
            device.setAutostart(1)
            done(device.setAutostart, 0)
        if not device.isActive():
            device.create(0)
            done(_stop, host, device)


def document(mdev: Mdev) -> str:
    """The node device that libvirt is to make: https://libvirt.org/formatnode.html"""
    device = Element("device")
    SubElement(device, "parent").text = name_of(mdev.parent)
    capability = SubElement(device, "capability", type="mdev")
    SubElement(capability, "type", id=mdev.type)
    SubElement(capability, "uuid").text = mdev.uuid
    return render(device)


def _found(host: Host, uuid: str) -> libvirt.virNodeDevice | None:
    devices = host.conn.listAllDevices(MDEV)
    return next((device for device in devices if uuid_of(device.name()) == uuid), None)


def _stop(host: Host, device: libvirt.virNodeDevice) -> None:
    device.destroy()
    _await(host, device, lambda now: now.isActive())


def _forget(host: Host, device: libvirt.virNodeDevice) -> None:
    device.undefine()
    _await(host, device, lambda now: now.isPersistent())


def _await(host: Host, device: libvirt.virNodeDevice, still: Callable[[libvirt.virNodeDevice], int]) -> None:
    """Until libvirt shows what was done: it learns of it afterwards, from the kernel or from mdevctl's files."""
    ends = time.monotonic() + SEEN_SECONDS
    while time.monotonic() < ends:
        now = _found(host, uuid_of(device.name()))
        if now is None or not or_nothing(partial(still, now), 0):
            return
        time.sleep(GLANCE)


def _unless_taken(host: Host, uuid: str, step: Callable[[], object]) -> None:
    """Take a step back, unless another has come to have the mdev: it was free for all from the moment it was there."""
    if not held(host).mdevs.get(uuid):
        step()
