"""Guests of one boot sector that write memory for ever, at a known rate: they are up in a moment and cost little CPU.

A tick comes a thousand times a second; at each one the guest writes so many pages of its working set, in order, and
halts. What it does not write again it has touched once, so that there is something to move.

idle    touched 192 MiB, writes nothing
mid     writes 70 MB/s over 64 MiB
hot     writes 350 MB/s over 360 MiB, so that the same page comes again after a second
"""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import libvirt

MIB = 1 << 20
PAGE = 4096
TICKS = 1000
UP_SECONDS = 100.0

# In front: a jump over the tables, three descriptors (none, flat code, flat data), where they are, where the interrupt
# table is, and the tick's handler, which only says that it was heard.
TABLES = (
    "eb31 000000000000 0000000000000000 ffff0000009acf00 ffff00000092cf00 1700087c0000 470000600000 50 b020 e620 58 cf"
)
# cli; A20 on; lgdt; protected mode; flat segments; a stack.
PROTECT = "fa 31c0 8ed8 e4920c02e692 0f0116207c 0f20c00c010f22c0 ea507c0800 66b81000 8ed8 8ec0 8ed0 bc00700000"
# The tick is vector 8; nothing else may interrupt.
LISTEN = "c705406000002c7c0800 c70544600000008e0000 0f011d267c0000 b0fee621 b0ffe6a1"
# From 1 MiB to {end}: something in each page that is not zero. Then 'U' on the serial line.
FILL = "bf00001000 893f c787000800005a5a5a5a 81c700100000 81ff{end} 72e6 66baf803 b055 ee"
# A thousand ticks a second.
CLOCK = "b034e643 b0a9e640 b004e640 fc"
# again: edi = 1 MiB, ebx += 0x01010101; page: (a write) until edi is {end}; {count} pages, then wait for the tick.
ROUND = "bf00001000 81c301010101 {write} 81ff{end} {again} 4d {page} fb f4 fa bd{count} {page_too}"
ONE_WORD = "ff4704 81c700100000"
"""One word of the page."""
WHOLE_PAGE = "89d8 b900040000 f3ab"
"""Every byte of it, so that no difference is smaller than the page."""
HALT = "fa f4 ebfd"


@dataclass(frozen=True, kw_only=True)
class Load:
    """Bytes, and bytes a second. `whole`: every byte of a page is written, and not four."""

    touched: int
    working_set: int = 0
    rate: int = 0
    whole: bool = False
    memory: int = 512 * MIB


LOADS = {
    "idle": Load(touched=192 * MIB),
    "mid": Load(touched=256 * MIB, working_set=64 * MIB, rate=70_000_000),
    "hot": Load(touched=384 * MIB, working_set=360 * MIB, rate=350_000_000),
}


def sector(load: Load) -> bytes:
    """The program. It is at 0x7c00, and goes on in 32 bits at 0x7c50."""
    front = bytes.fromhex(TABLES + PROTECT[: PROTECT.index("66b8")])
    back = PROTECT[PROTECT.index("66b8") :] + LISTEN + FILL.format(end=number(MIB + load.touched))
    assert len(front) == 0x50
    back += CLOCK + rounds(load) if load.rate else HALT
    return (front + bytes.fromhex(back)).ljust(510, b"\0") + b"\x55\xaa"


def rounds(load: Load) -> str:
    """The loop over the working set. Its short jumps are counted from their own ends."""
    write = WHOLE_PAGE if load.whole else ONE_WORD
    size = len(bytes.fromhex(write))
    # 11 bytes to `page`; the comparison is 6, each jump 2, the count 1, waiting 3, setting the count 5.
    start, end = 11, 11 + size + 6
    return ROUND.format(
        write=write,
        end=number(MIB + load.working_set),
        again=f"73{(-(end + 2)) & 0xFF:02x}",
        page=f"7f{(start - (end + 5)) & 0xFF:02x}",
        count=number(max(1, round(load.rate / PAGE / TICKS))),
        page_too=f"eb{(start - (end + 15)) & 0xFF:02x}",
    )


def number(value: int) -> str:
    return value.to_bytes(4, "little").hex()


def xml(directory: Path, name: str, load: Load) -> str:
    """The definition of a guest with that load, its disk and the log of its serial line made in `directory`."""
    disk = directory / f"{name}.img"
    disk.write_bytes(sector(load).ljust(MIB, b"\0"))
    return textwrap.dedent(
        f"""\
        <domain type='qemu'>
          <name>{name}</name>
          <memory unit='b'>{load.memory}</memory>
          <vcpu>1</vcpu>
          <os><type arch='x86_64' machine='pc'>hvm</type></os>
          <features><acpi/></features>
          <devices>
            <disk type='file' device='disk'>
              <driver name='qemu' type='raw' cache='none'/>
              <source file='{disk}'/><target dev='vda' bus='virtio'/>
            </disk>
            <serial type='file'><source path='{directory / name}.log'/></serial>
            <memballoon model='none'/>
          </devices>
        </domain>
        """
    )


def boot(connection: libvirt.virConnect, directory: Path, name: str, load: Load) -> libvirt.virDomain:
    """Start such a guest, and come back when it has touched its memory and writes."""
    log = directory / f"{name}.log"
    log.unlink(missing_ok=True)
    domain = connection.defineXML(xml(directory, name, load))
    domain.create()
    ends = time.monotonic() + UP_SECONDS
    while not (log.exists() and b"U" in log.read_bytes()):
        assert time.monotonic() < ends, f"{name} has not come up"
        time.sleep(0.02)
    return domain
