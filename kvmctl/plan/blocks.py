"""What stands against giving block devices of the host to a VM as its disks. Pure.

Only the device itself matters, and what is made of it. That the host needs it can be overruled by naming that very
device; that another VM writes to it cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker, warning
from kvmctl.plan.pci.guard import FORCE
from kvmctl.plan.pci.needs import block_needs, made_of

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.system import System


@dataclass(frozen=True, kw_only=True)
class Given:
    """A block device that a VM has as a disk: `path` as the VM names it, `name` as the kernel does."""

    path: str
    name: str
    readonly: bool = False
    shareable: bool = False

    def __str__(self) -> str:
        return self.path if self.path == f"/dev/{self.name}" else f"{self.path} ({self.name})"


def check(
    system: System,
    disks: Sequence[Given],
    *,
    others: Mapping[str, Sequence[Given]],
    forced: Collection[str] = (),
) -> tuple[Finding, ...]:
    """All findings about these disks of one VM. `others` are those that other VMs run with, by the names of the VMs;
    `forced` are kernel's names of those that it may take from the host.
    """
    found: list[Finding] = []
    for disk in disks:
        found += _needed(system, disk, forced)
        touched = touching(system, disk.name)
        for vm, theirs in others.items():
            for other in theirs:
                if other.name in touched:
                    found += _shared(disk, vm, other)
    return tuple(dict.fromkeys(found))


def touching(system: System, name: str) -> frozenset[str]:
    """The devices that change when this one is written to, or the other way round: it is one, or made of one."""
    found, left = {name, *(block.name for block, _ in made_of(system, name))}, [name]
    seen: set[str] = set()
    while left:
        below = left.pop()
        if below not in seen:
            seen.add(below)
            left += system.blocks[below].below if below in system.blocks else ()
    return frozenset(found | seen)


def _needed(system: System, disk: Given, forced: Collection[str]) -> Iterator[Finding]:
    needs = "; ".join(need.sentence for need in block_needs(system, disk.name))
    if needs and disk.readonly:
        yield warning(
            FORCE, f"the host uses {disk}, which may change while the guest reads it: {needs}", subject=disk.path
        )
    elif needs and disk.name in forced:
        yield warning(FORCE, f"the host loses {disk}: {needs}", subject=disk.path)
    elif needs:
        hint = f"take another disk; --force-host-device {disk.path} takes this one from the host"
        yield blocker(FORCE, f"the host needs {disk}: {needs}", hint, subject=disk.path)


def _shared(disk: Given, vm: str, other: Given) -> Iterator[Finding]:
    """What follows from two VMs that have the same at once."""
    if (disk.shareable and other.shareable) or (disk.readonly and other.readonly):
        return
    what = "it" if disk.name == other.name else other
    if other.readonly:
        yield warning("device-in-use", f"{vm} runs with {what}, and reads it while {disk} changes", subject=disk.path)
    else:
        hint = "stop that VM; or write shareable: true of the disk of both, if their guests know how to share it"
        yield blocker("device-in-use", f"{disk} cannot be given away: {vm} runs with {what}", hint, subject=disk.path)
