"""Directories that a hypervisor shares with this machine, itself a VM then: a device carries each. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmctl.host.machine import text_of
from kvmctl.host.pci.sysfs import carrier, entries
from kvmctl.plan.pci.system import Block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DRIVERS = {"9pnet_virtio": "mount_tag", "virtiofs": "tag"}
"""Drivers of virtio that bring them, and the file of a device that tells the share's name, if the kernel has it."""


def shares(system: Path, mounts: Mapping[str, set[str]]) -> Iterator[Block]:
    """Each as if it were a disk. `mounts` are the places by what is mounted there.

    Where a device does not tell what it shares, it counts as if it shared all that are mounted.
    """
    for driver, file in DRIVERS.items():
        for place in entries(system / "sys/bus/virtio/drivers" / driver):
            address = carrier(place)
            if address and place.name.startswith("virtio"):
                tag = (text_of(place / file) or "").strip("\0")
                places = mounts.get(tag, set()) if tag else set().union(*mounts.values())
                yield Block(name=f"share:{tag or place.name}", label=tag, pci=address, mounts=tuple(sorted(places)))
