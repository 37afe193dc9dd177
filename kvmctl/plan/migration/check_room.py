"""Room at the target for disks that are copied, and that nothing stands where they go. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.migration.copies import is_whole
from kvmctl.plan.migration.verdicts import blocker
from kvmctl.spec.kinds import show_size

if TYPE_CHECKING:
    from kvmctl.plan.migration.disk import Disk
    from kvmctl.plan.migration.ends import Ends, Sight
    from kvmctl.plan.migration.finding import Finding

MIB = 2**20
LUKS_HEADER = 2 * MIB
"""What QEMU puts before the content."""


def room(ends: Ends, disks: Sequence[Disk]) -> Iterator[Finding]:
    """Of all these disks together, store by store."""
    wanted: dict[str, int] = {}
    places: dict[str, Sight] = {}
    for disk in disks:
        sight = ends.sights.get(disk.path)
        if sight is None:
            continue
        if not sight.directory:
            what = f"{ends.target.name} has no directory for {sight.there}"
            hint = f"make it, or --map {disk.path.rpartition('/')[0]}=DIRECTORY"
            yield blocker("path-missing", what, hint, subject=disk.target)
        elif sight.present:
            what = f"{sight.there} stands on {ends.target.name} already, and is not overwritten"
            hint = f"remove it there if it is not needed, or --map {disk.path}=OTHER"
            yield blocker("disk-exists", what, hint, subject=disk.target)
        else:
            wanted[sight.store] = wanted.get(sight.store, 0) + needed(ends, disk)
            places[sight.store] = sight
    for store, size in wanted.items():
        free = places[store].room
        if free is not None and size > free:
            what = f"{ends.target.name} has {_shown(free)} free in {store}, and the copies need {_shown(size)}"
            yield blocker(
                "room-missing", what, "make room there, or --map PATH=OTHER for some of the disks", subject=store
            )


def needed(ends: Ends, disk: Disk) -> int:
    """Of the disk itself, and of the images below it that are not there."""
    total, path, seen = 0, disk.path, set()
    rest = [path, *disk.backing]
    for path in rest:  # which grows
        sight = ends.sights.get(path)
        if path in seen or sight is None:
            continue
        seen.add(path)
        same = sight.present and sight.size_here == sight.size_there
        if path == disk.path or not same:
            total += _whole(ends, disk, sight) if path == disk.path else sight.allocated or 0
        rest += sight.backing
    return total


def _whole(ends: Ends, disk: Disk, sight: Sight) -> int:
    """What the volume of a disk comes to."""
    taken = sight.allocated or 0
    if ends.guest.running and is_whole(disk.format, disk.encryption):
        return max(taken, (sight.size_here or 0) + LUKS_HEADER)
    return taken


def _shown(size: int) -> str:
    return show_size(size // MIB * MIB) if size >= MIB else show_size(size)
