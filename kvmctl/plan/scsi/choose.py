"""What the SCSI entries of a spec mean, and what follows from that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmctl.plan.scsi.find import find, find_present
from kvmctl.spec.model.scsi import spelled_out

if TYPE_CHECKING:
    from kvmctl.plan.scsi.facts import Device, Inventory
    from kvmctl.spec.model.scsi import Scsi


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Entries with their addresses, and what there is to say."""

    entries: tuple[Scsi, ...]
    sentences: tuple[str, ...] = ()


def choose(inventory: Inventory, entries: Sequence[Scsi], *, start: bool) -> Chosen:
    """Settle the entries of a spec. Raises NotFound and Refused where one says nothing, or several devices.

    What is named by its address may be there later, unless the VM is to `start` now.
    """
    settled: list[Scsi] = []
    sentences: list[str] = []
    for entry in map(spelled_out, entries):
        device = find(inventory, entry) if entry.address and not start else find_present(inventory, entry)
        if device is None:
            settled.append(entry)
            continue
        settled.append(replace(entry, address=device.address, path=None, wwn=None, serial=None))
        sentences += remarks(device)
    return Chosen(entries=tuple(settled), sentences=tuple(sentences))


def remarks(device: Device) -> Iterator[str]:
    """What follows from what is known of it."""
    if not (device.wwn or device.serial):
        yield (
            f"{device.address} has neither WWN nor serial number, so it is kept by its address, where the next boot of "
            "the host may have another"
        )
