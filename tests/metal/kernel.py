"""Debian's kernel made quick to start under emulation: unpacked, and with those modules alone that the machine can use.

Modules are unpacked too, since most of the time to load one would go into its compression.
"""

from __future__ import annotations

import fnmatch
import lzma
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path


def unpacked(packed: Path, root: Path) -> bytes:
    """The ELF file inside a bzImage, which QEMU starts as it is. `root` has the program that unpacks it."""
    image = packed.read_bytes()
    start = (image[0x1F1] + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    # Behind the payload stand four bytes that say how long it is unpacked.
    payload = image[start + offset : start + offset + length - 4]
    unpack = ["chroot", str(root), "zstd", "--decompress", "--stdout", "--quiet"]
    return subprocess.run(unpack, input=payload, stdout=subprocess.PIPE, check=True).stdout


class Modules:
    """The modules of the one kernel in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (self.place,) = (root / "usr/lib/modules").iterdir()

    def keep(self, wanted: Sequence[str]) -> None:
        """Unpack the modules that fit one of the patterns, and what they need; remove all others."""
        needs = self._needs()
        kept: set[str] = set()
        for file, others in needs.items():
            if any(fnmatch.fnmatch(_name(file), pattern) for pattern in wanted):
                kept.update((file, *others))
        for file in needs:
            path = self.place / file
            if file in kept:
                path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
            path.unlink()
        subprocess.run(["chroot", str(self.root), "depmod", self.place.name], check=True)

    def order(self, wanted: Iterable[str]) -> list[Path]:
        """The files of these modules and of what they need, each after what it needs."""
        found: dict[str, None] = {}
        for file, others in self._needs().items():
            if _name(file) in wanted:
                found.update(dict.fromkeys((*reversed(others), file)))
        return [self.place / file for file in found]

    def _needs(self) -> dict[str, list[str]]:
        lines = (self.place / "modules.dep").read_text().splitlines()
        return {file: others.split() for file, _, others in (line.partition(":") for line in lines)}


def _name(file: str) -> str:
    """`kernel/fs/ext4/ext4.ko.xz` is the module ext4, and `kvm-amd.ko` kvm_amd."""
    return Path(file).name.partition(".")[0].replace("-", "_")
