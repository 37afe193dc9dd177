"""A guest that counts on its disk, and notices another writer: a boot sector for BIOS and an IDE disk.

Eighteen times a second it reads the second sector. What stands there must be what it wrote last: the count, and the
low half of the clock of its CPU at that time, which no other copy has. Else there is another writer, or the memory of
the guest is older than its disk, and it writes into the third sector and never takes that back. Then it counts on.

`fill` pages from 1 MiB up are not zero, so that they must be moved; `busy` of them change eighteen times a second.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

FIRST, PAGE, SECTOR = 1 << 20, 4096, 512
CODE = (
    # No segments; the stack below. The timer eighteen times a second; memory above 1 MiB.
    "fa 31c0 8ed8 8ec0 8ed0 bc007c  b036 e643 b80000 e640 88e0 e640  e492 0c02 e692",
    # Read; one start more; fill.
    "b402 e86e00  66ff4708  66ba{fill} e87200",
    # adopt: what is on the disk is what I wrote last. On to `next`.
    "668b07 66a30090  668b4704 66a30490  eb25",
    # loop: wait for the timer; change pages; read.
    "fb f4  66ba{busy} e85600  b402 e84000",
    # Is it what I wrote last? Else on to `foreign`.
    "668b07 6639060090 7526  668b4704 6639060490 751b",
    # next: count; the clock; remember both; write; loop.
    "66ff07  0f31 66894704 66a30490  668b07 66a30090  b403 e81200  ebc0",
    # foreign: write the third sector; read; adopt.
    "b80103 b90300 e80c00  b402 e80200 eb9f",
    # disk: the second sector of the first disk to or from 0x8000.
    "b001 b90200  ba8000 bb0080 cd13 bb0080 c3",
    # touch: reach all memory by FS, and add one to a word of each page up to EDX.
    "fa 0f0116ec7c  0f20c0 0c01 0f22c0 b90800 8ee1 24fe 0f22c0 31c9 8ee1",
    "66bf00001000  6639d7 730e 646766ff07 6681c700100000 ebed c3",
    # The table of segments: none, and one of 4 GiB; where it is.
    "8d7400  0000000000000000 ffff000000928f00  0f00dc7c0000",
)


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a guest has written: how far it counted, how often it was started, and whether it had company."""

    count: int
    starts: int
    foreign: bool


def image(path: Path, *, fill: int = 512, busy: int = 0, size: int = 1) -> Path:
    """A raw disk of so many MiB with the guest on it, and no zeroes behind the first."""
    ends = {name: struct.pack("<I", FIRST + pages * PAGE).hex() for name, pages in (("fill", fill), ("busy", busy))}
    code = bytes.fromhex("".join(CODE).format(**ends))
    first = (code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa").ljust(FIRST, b"\0")
    path.write_bytes(first + b"\x5a" * (FIRST * (size - 1)))
    return path


def read(path: Path) -> Count:
    with path.open("rb") as file:
        file.seek(SECTOR)
        count, _, starts = struct.unpack("<III", file.read(12))
        file.seek(2 * SECTOR)
        return Count(count=count, starts=starts, foreign=any(file.read(SECTOR)))
