"""An exported spec for reading: without what libvirt gives a new VM by itself. Knows defaults, not VMs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.plan.tuning import open_again
from kvmctl.spec.model.tuning import Wishes
from kvmctl.spec.xmltext import parse_raw, render

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.spec.model.vm import Vm

ACTIONS = {"on_poweroff": "destroy", "on_reboot": "restart", "on_crash": "destroy"}
"""What libvirt does if nothing is said: https://libvirt.org/formatdomain.html#events-configuration"""
AUTOMATIC = ("pci", "usb", "sata", "ide", "virtio-serial", "scsi", "fdc", "ccid")
"""Controllers that libvirt adds for the devices that need them."""

NAMED_BY = {
    *(("target", "dev"), ("target", "name"), ("target", "port"), ("target", "type"), ("mac", "address")),
    *(("backend", "model"), ("backend", "type"), ("driver", "name"), ("model", "name"), ("listen", "type")),
    *(("model", "vram"), ("model", "heads"), ("model", "primary"), ("model", "ram"), ("model", "vgamem")),
    *(("graphics", "type"), ("graphics", "autoport"), ("graphics", "port"), ("input", "type"), ("input", "bus")),
}
"""Attributes that only say which device is meant, or what libvirt has filled in."""


def shorten(vm: Vm) -> Vm:
    """Without what libvirt gives a new VM by itself: the addresses of devices, the controllers they need, its defaults;
    and with `pin: auto` instead of the pins that kvmctl has chosen.

    The VM that is made of it is alike, but its devices may stand at other addresses, and it may run on other CPUs.
    """
    vm = _placed_anew(vm)
    if vm.raw_xml is None:
        return vm
    rest = parse_raw(vm.raw_xml)
    for parent in list(rest.iter()):
        for child in list(parent):
            if _is_default(parent, child):
                parent.remove(child)
    for path in ("disk", "interface", "channel", "input", "graphics", "video", "memballoon", "rng", "tpm", "serial"):
        for device in rest.findall(f"devices/{path}"):
            if _says_nothing(device):
                rest.find("devices").remove(device)  # type: ignore[union-attr]
    for device in reversed(rest.findall("devices/hostdev")):
        if not _says_nothing(device):
            break  # those before it keep its place
        rest.find("devices").remove(device)  # type: ignore[union-attr]
    cpu = rest.find("cpu")
    if cpu is not None and cpu.attrib in ({}, {"check": "none"}, {"check": "partial"}) and not len(cpu):
        rest.remove(cpu)
    devices = rest.find("devices")
    if devices is not None and not len(devices):
        rest.remove(devices)
    return replace(vm, raw_xml=render(rest) if len(rest) or rest.attrib else None)


def _placed_anew(vm: Vm) -> Vm:
    """Where kvmctl has chosen the pins, and the nodes for the memory with them, the wish for it instead."""
    cpu = vm.cpu
    if not cpu or not cpu.placement or not cpu.placement.automatic:
        return vm
    wishes = replace(cpu.placement, automatic=None, by_hand=())
    vm = open_again(vm)
    return replace(vm, cpu=vm.cpu and replace(vm.cpu, placement=None if wishes == Wishes() else wishes))


def _is_default(parent: Element, child: Element) -> bool:
    if parent.tag == "domain":
        return ACTIONS.get(child.tag) == child.text
    if parent.tag == "devices":
        console = child.tag == "console" and child.find("target[@type='serial']") is not None
        controller = child.tag == "controller" and child.get("type") in AUTOMATIC and child.find("driver") is None
        silent = child.tag == "audio" and child.get("type") == "none"
        # Every q35 machine has it; later releases of libvirt say so.
        watchdog = child.tag == "watchdog" and child.get("model") == "itco" and child.get("action") == "reset"
        return console or controller or silent or watchdog or child.tag == "emulator"
    if child.tag == "topology":
        return child.attrib == {"clusters": "1"}  # which later releases of libvirt say of every topology
    return child.tag == "address" and child.get("type") not in (None, "isa")


def _says_nothing(device: Element) -> bool:
    """Nothing is left of it but what names it."""
    return all(
        not (node.text or "").strip() and all((node.tag, name) in NAMED_BY for name in node.attrib)
        for node in device.iter()
    )
