"""One cell of the matrix: a fault, where and when it is made, and what is expected beside that which always is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.lab.faults.field import Field

Mode = Literal["managed", "p2p"]
MODES: tuple[Mode, ...] = ("managed", "p2p")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`arm` prepares the fault. `codes` are the exit codes that are right; None: any that is true."""

    name: str
    mode: Mode
    locks: bool
    arm: Callable[[Field], object]
    codes: frozenset[int] | None = None
    killed: bool = False
    """kvmctl itself is killed with no chance to do anything: `--recover` finishes."""
    unreachable: bool = False
    """A host is out of reach for so long that the truth may have to wait for `--recover`."""
    forgets: bool = False
    """libvirt 9.0 may keep a job of a VM that is off, for ever: libvirtd is then started anew before `--recover`."""
    ends: frozenset[str] = frozenset({"running"})
    """What the VM may be like in the end: its QEMU may have been killed."""
    options: tuple[str, ...] = ()
    fill: int = 512
    busy: int = 0
    disk: int = 0
    """MiB of a disk that the hosts do not share; 0: they share it."""
    link: int = 0
    """MiB a second; 0: as it is."""
    seconds: float = 6
    """What it takes, roughly."""

    @property
    def title(self) -> str:
        return f"{self.mode}, {'locks' if self.locks else 'no locks'}: {self.name}"
