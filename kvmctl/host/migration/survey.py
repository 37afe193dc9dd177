"""Which disks `--copy-disks` copies and what they are made of, looked up at both ends for `plan/migration/copies.py`.

Makes nothing. Disks that both hosts see are not copied, nor those of which nothing is known. CDs and read-only disks,
and those that the VM has from its next boot on, are copied where the target has no such file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmctl.errors import Refused
from kvmctl.host import storage
from kvmctl.host.connection import translated
from kvmctl.host.migration import layers
from kvmctl.host.migration.making import place_for
from kvmctl.host.migration.met import pools
from kvmctl.plan.check_facts import size as shown
from kvmctl.plan.migration import copies
from kvmctl.plan.migration.copies import Copies, Copy
from kvmctl.plan.migration.disk import disks_of, name_there, path_there

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.disk import Disk
    from kvmctl.plan.migration.ends import Guest, Pool
    from kvmctl.plan.migration.looked import Looked


@dataclass(frozen=True, kw_only=True)
class Ends:
    """A VM between two hosts, and the rules for names at the target."""

    source: Host
    target: Host
    domain: libvirt.virDomain
    vm: Guest
    maps: Mapping[str, str]
    persistent: Element | None
    """The definition of the next boot, of a VM that runs and has one."""


def survey(ends: Ends, looked: Looked, work: Work, say: Callable[[str], None]) -> Copies:
    """What is copied, and how. Raises Refused where it cannot be."""
    found = []
    pools_there = (pools(ends.target) or {}) if any(disk.pool for disk in ends.vm.disks) else {}
    for disk, still in _wanted(ends, looked, pools_there):
        work.check()
        copy = _copy(ends, disk, still=still)
        top = replace(copy.layers[0], there=_place(ends, disk, pools_there))
        found.append(replace(copy, layers=(top, *copy.layers[1:])))
    same = {}
    for layer in {layer for copy in found for layer in copy.layers[1:]}:
        say(f"comparing {layer.path} with {layer.there} of {ends.target.name}")
        same[layer.there] = layers.same(ends.source, ends.target, layer, work)
    decided = copies.decide(found, same)
    for name in decided.flat:
        say(f"{ends.target.name} has not the images below {name}: its copy has all in one")
    for directory, size in copies.room(found, decided).items():
        with place_for(ends.target, directory) as pool:
            free = storage.free_bytes(pool)
        if size > free:
            raise Refused(
                "no-space",
                f"{ends.target.name} has {shown(free)} free in {directory}, and the copies need {shown(size)}",
                hint=f"make room there, or --map {directory}=ANOTHER",
                vm=ends.vm.name,
            )
    return decided


def is_copied(disk: Disk, looked: Looked) -> bool:
    """Whether a disk that is written moves with its content."""
    return disk.written and looked.disks.get(disk.target) == "separate"


def _wanted(ends: Ends, looked: Looked, pools_there: Mapping[str, Pool]) -> Iterator[tuple[Disk, bool]]:
    """The disks to copy, each with whether nobody writes to it meanwhile."""

    def missing(disk: Disk) -> bool:
        if disk.is_device or not disk.path.startswith("/"):
            return False
        return layers.described(ends.target, _place(ends, disk, pools_there)) is None

    for disk in ends.vm.disks:
        if is_copied(disk, looked):
            yield disk, not ends.vm.running
        elif looked.disks.get(disk.target) == "readonly" and missing(disk):
            yield disk, True
    if ends.persistent is not None:
        known = {disk.path for disk in ends.vm.disks}
        for disk in disks_of(ends.persistent):
            if disk.path not in known and missing(disk):
                yield disk, True


def _place(ends: Ends, disk: Disk, pools_there: Mapping[str, Pool]) -> str:
    """Where the disk will be at the target."""
    pool = pools_there.get(name_there("pool", disk.pool, ends.maps)) if disk.pool else None
    return posixpath.join(pool.path, disk.volume) if pool else path_there(disk.path, ends.maps)


def _copy(ends: Ends, disk: Disk, *, still: bool) -> Copy:
    found = layers.chain(ends.source, disk.path, disk.format, lambda path: path_there(path, ends.maps))
    if not found:
        raise Refused(
            "resource-missing",
            f"{disk.path}, disk {disk.target}, is in no directory or pool that {ends.source.name} can look into",
            vm=ends.vm.name,
        )
    size = found[0].size
    if not still:
        with translated(vm=ends.vm.name, doing=f"ask for the size of {disk.target}", host=ends.source.name):
            size = int(ends.domain.blockInfo(disk.target)[0])
    return Copy(
        target=disk.target,
        layers=found,
        size=size,
        still=still,
        complete=not found[-1].backing,
        encryption=disk.encryption,
        encrypted_below=disk.encrypted_below,
        shareable=disk.shareable,
    )
