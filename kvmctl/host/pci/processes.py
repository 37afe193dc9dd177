"""Which devices processes of this machine have open: disks without a file system, graphics cards, devices of vfio.

Everything is read below `system`, which is / but for tests. Who is not root sees its own processes only. Keyboards,
sound and the like do not count: they can be taken away, and somebody always has them open.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from kvmctl.host.machine import ROOT, text_of
from kvmctl.host.pci.sysfs import entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODYS = re.compile(
    r"(null|zero|full|random|urandom|tty.*|pts/.*|ptmx|console|kmsg|fuse|kvm|rtc\d*|hwrng|net/.*|input/.*|snd/.*|bus/.*"
    r"|hidraw\d+|mapper/control|loop-control|shm/.*|hugepages.*|mqueue/.*|vfio/vfio|vhost-.*|vsock|autofs|log)"
)
"""Names below /dev that tell nothing of a device, or of one that can be taken from whoever has it open."""


def openers(system: Path = ROOT) -> dict[str, tuple[str, ...]]:
    """Names below /dev that processes have open, with the processes: name and number."""
    found: dict[str, set[str]] = defaultdict(set)
    for process in entries(system / "proc"):
        if not process.name.isdecimal():
            continue
        names = {target.removeprefix("/dev/") for target in _targets(process) if target.startswith("/dev/")}
        for name in names:
            if not NOBODYS.fullmatch(name):
                found[name].add(f"{text_of(process / 'comm') or 'a process'} ({process.name})")
    return {name: tuple(sorted(who)) for name, who in found.items()}


def _targets(process: Path) -> Iterator[str]:
    place = process / "fd"
    try:
        numbers = os.listdir(place)
    except OSError:  # another user's, or it has ended
        return
    for number in numbers:
        try:
            yield os.readlink(place / number)
        except OSError:
            continue


def paths_of(names: set[str], system: Path = ROOT) -> dict[str, Path]:
    """Where sysfs has what these names below /dev stand for."""
    found: dict[str, Path] = {}
    for kind in ("char", "block") if names else ():
        for place in entries(system / "sys/dev" / kind):
            lines = (text_of(place / "uevent") or "").splitlines()
            name = next((line[8:] for line in lines if line.startswith("DEVNAME=")), "")
            if name in names:
                found[name] = place
    return found
