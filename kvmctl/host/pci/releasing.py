"""Gives devices that were left on vfio-pci, by a crash for example, back to the host's own drivers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmctl.errors import KvmctlError, Refused
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.machine import ROOT, is_here
from kvmctl.host.pci.holders import held
from kvmctl.host.pci.inventory import inventory
from kvmctl.host.pci.nodes import name_of
from kvmctl.host.pci.reserving import reserved_here
from kvmctl.plan.pci.find import find

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.plan.pci.facts import Inventory

PCI = "sys/bus/pci"


def release(host: Host, word: str) -> dict[str, Any]:
    """One device: `name address driver changed host`. Raises Refused while a running VM has it."""
    known = inventory(host)
    address = find(known, word)
    device = known.devices[address]
    for holder in known.holders.get(address, ()):
        if holder.running:
            raise Refused(
                "device-refused",
                f"{holder.vm} runs with {address}",
                hint=f"kvmctl pci detach {holder.vm} {address}, or stop it",
            )
    stuck = "vfio" in device.driver or device.driver in ("", "pci-stub")
    if stuck:
        _reattach(host, address)
        if is_here(host.target):
            reprobe(address)
    return _answer(inventory(host), address, changed=stuck)


def left_over(host: Host, system: Path = ROOT) -> tuple[str, ...]:
    """Devices of this machine that vfio-pci has, and neither a VM nor `pci reserve`, nor whoever gives them by hand."""
    found = {path.name for path in (system / PCI / "drivers/vfio-pci").glob("????:??:??.?")}
    if not found:
        return ()
    kept = {
        address
        for address, holders in held(host).devices.items()
        if any(holder.running or not holder.managed for holder in holders)
    }
    return tuple(sorted(found - kept - set(reserved_here(system))))


def _answer(known: Inventory, address: str, *, changed: bool) -> dict[str, Any]:
    driver = known.devices[address].driver
    if changed and "vfio" in driver:
        raise KvmctlError(
            "libvirt-failed",
            f"{address} is still with {driver}",
            hint=f"run it on the host itself, as root: kvmctl pci release {address}",
        )
    return {"name": address, "address": address, "driver": driver or None, "changed": changed, "host": known.host}


def _reattach(host: Host, address: str) -> None:
    """By libvirt, which also forgets that it had taken it."""
    with translated(doing=f"give {address} back to its driver", host=host.name):
        try:
            host.conn.nodeDeviceLookupByName(name_of(address)).reAttach()
        except libvirt.libvirtError as problem:
            if problem.get_error_code() not in (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_NO_NODE_DEVICE):
                raise


def reprobe(address: str, system: Path = ROOT) -> None:
    """By the kernel: no override, no driver that keeps it, and then its own. Raises Refused without the right to."""
    place = system / PCI / "devices" / address
    try:
        _say(place / "driver_override", "\n")
        driver = place / "driver"
        if driver.exists() and "vfio" in os.path.basename(os.readlink(driver)):
            _say(driver / "unbind", address)
        if not driver.exists():
            _say(system / PCI / "drivers_probe", address)
    except PermissionError as problem:
        raise Refused("not-supported", f"only root can give {address} back", hint="run it with sudo") from problem
    except OSError as problem:
        raise KvmctlError("libvirt-failed", f"the kernel does not give {address} back: {problem.strerror}") from problem


def _say(path: Path, text: str) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(text)
