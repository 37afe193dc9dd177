"""Guests of one boot sector, for real QEMU: they start in a moment, cost nothing, and need no package.

obedient    powers off when the power button is pressed
deaf        does nothing, and hears nothing
brief       powers itself off after two seconds, and says so before
"""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

# mov dx, 0x604; mov ax, 0x2000; out dx, ax: "sleep" in the ACPI register that SeaBIOS has set up; then hlt for ever.
OFF = "ba0406 b80020 ef f4 ebfd"
# mov dx, 0x3f8; mov al, 'U'; out dx, al: to the serial line.
UP = "baf803 b055 ee"
PROGRAMS = {
    # sti; enable the button in 0x602; hlt until its bit shows in 0x600.
    "obedient": f"fb ba0206 b80001 ef  {UP}  f4 ba0006 ed f6c401 74f6  {OFF}",
    "deaf": f"fb {UP}  f4 ebfd",
    # sti; 36 ticks of the timer, 18 of which are a second; mov al, 'D'; out dx, al.
    "brief": f"fb {UP}  b92400 f4 e2fd  b044 ee  {OFF}",
}


def image(directory: Path, name: str, kind: str) -> Path:
    """A raw disk with the guest in its first sector."""
    path = directory / f"{name}.img"
    sector = bytes.fromhex(PROGRAMS[kind]).ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(sector.ljust(1 << 20, b"\0"))
    return path


def log(directory: Path, name: str) -> Path:
    """What the guest says: a letter each time when it is up."""
    return directory / f"{name}.log"


def until_up(directory: Path, name: str, *, times: int = 1) -> None:
    """Come back when the guest has come up so many times."""
    ends = time.monotonic() + 100
    while not (log(directory, name).exists() and log(directory, name).read_bytes().count(b"U") >= times):
        assert time.monotonic() < ends, f"{name} has not come up"
        time.sleep(0.02)


def spec(directory: Path, name: str, kind: str) -> Path:
    """A spec for `kvmctl create`."""
    path = directory / f"{name}.yaml"
    text = f"""\
        name: {name}
        accelerator: tcg
        machine: pc
        cpu: 1
        memory: 16MiB
        disks: [{{path: {image(directory, name, kind)}, format: raw}}]
        serial: {{log: {log(directory, name)}}}
        """
    path.write_text(textwrap.dedent(text))
    return path
