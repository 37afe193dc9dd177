"""Devices of the host in a spec that becomes a domain: each is told in full by now, or nobody was asked. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.errors import Refused
from kvmctl.spec.model import scsi, usb
from kvmctl.spec.model.mdev import is_uuid
from kvmctl.spec.model.pci import selector, spelled_out
from kvmctl.spec.plainly import to_plain

if TYPE_CHECKING:
    from kvmctl.spec.model.disk import Disk
    from kvmctl.spec.model.network import Network
    from kvmctl.spec.model.pci import Pci
    from kvmctl.spec.model.scsi import Scsi
    from kvmctl.spec.model.usb import Usb
    from kvmctl.spec.model.vm import Vm


def with_model(card: Network) -> Network:
    """A card with its model; a virtual function has none, but an address."""
    if card.hostdev is None:
        return replace(card, model=card.model or "virtio")
    if selector(card.hostdev).address is None:
        raise _undecided(card.hostdev)
    return card


def of_address(disk: Disk) -> Disk:
    """A disk that is an NVMe device. Raises Refused for one that only the host can tell."""
    if disk.nvme is None or selector(disk.nvme).address is None:
        raise _undecided(disk.nvme or "")
    return replace(disk, format="raw")


def told_in_full(vm: Vm) -> Vm:
    """With whatever its PCI, USB and SCSI entries have in a domain. Raises Refused for what only the host can tell."""
    return replace(
        vm,
        pci=tuple(map(addressed, vm.pci)),
        usb=tuple(map(_portless, vm.usb)),
        scsi=tuple(map(_at_address, vm.scsi)),
    )


def addressed(entry: Pci) -> Pci:
    """An entry with its address, or UUID. Raises Refused for one that only the host can tell."""
    entry = spelled_out(entry)
    if is_uuid(entry.mdev or ""):
        return entry
    if entry.address is None:
        raise _undecided(", ".join(f"{key}: {value}" for key, value in to_plain(entry).items()))
    return replace(entry, managed=entry.managed is not False)


def _portless(entry: Usb) -> Usb:
    """A USB entry without a port. Raises Refused for one where only the host knows what is plugged in."""
    entry = usb.spelled_out(entry)
    if entry.port:
        raise _undecided(f"port: {entry.port}")
    return entry


def _at_address(entry: Scsi) -> Scsi:
    """A SCSI entry with its address. Raises Refused for one that only the host can tell."""
    entry = scsi.spelled_out(entry)
    if entry.address is None:
        raise _undecided(scsi.said(entry))
    return entry


def _undecided(what: str) -> Refused:
    """Before this the host was asked, where there is one."""
    return Refused(
        "not-supported",
        f"which device '{what}' is can only be told by the host",
        hint="name its address, or leave out --offline",
    )
