"""The image of the metal machine, made once by `making.py` and cached.

    python3 -m tests.metal.image      make it if it is not in the cache, and print where it is

What goes into it is declared there and in `system/`, whose files lie as they will lie in the machine. It is made aside,
and renamed into place when it is whole. The same system runs QEMU for the machine, by chroot: the host's own may be too
old to have the network card. Needs root and mmdebstrap; packages come from where apt gets its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.environment import CACHE, PATH, ROOT
from tests.metal.making import MADE, SYSTEM

HERE = Path(__file__).parent
MAKING = "making-metal"
LOCK_SECONDS = 900.0
SPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
"""The words before a command that make it PID 1 of namespaces of its own, which end with it."""


@dataclass(frozen=True)
class Image:
    """What is in the cache."""

    place: Path
    """In it: `root`, the system as a directory, to run its QEMU; `disk`, the same as a file system; `kernel` and
    `initrd`; `key`, which opens it by ssh, and `known_hosts`, which knows it by the name `metal`. None of it is written
    to when a machine runs, but `python`, what the system's Python made of the clone, to be used again.
    """


class ImageError(Exception):
    """There is no image; the message says why."""


def missing() -> str:
    """Why no image can be made here, or nothing."""
    if os.geteuid() != 0:
        return "needs root, to make a system"
    programs = ("mmdebstrap", "unshare", "chroot", "mkfs.ext4", "ssh-keygen", "apt-get", "gcc")
    absent = [name for name in programs if not shutil.which(name, path=PATH)]
    return f"needs {', '.join(absent)}: 'make test' installs them" if absent else ""


def provide(cache: Path = CACHE) -> Image:
    """The image from the cache, made first if need be. Of two at once, one makes it and the other waits."""
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"metal-{recipe()}"
    with _alone(cache / "metal.lock"):
        _tidy(cache)
        if not place.is_dir():
            _make(cache, place)
        place.touch()
    return Image(place)


def recipe() -> str:
    """A name for all that goes into the image but the packages themselves."""
    files = [HERE / name for name in ("making.py", "kernel.py", "guest.py", "pulse.c")]
    files += sorted(path for path in SYSTEM.rglob("*") if path.is_file())
    content = b"".join(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()[:12]


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock; it is let go with this process, however that ends."""
    ends = time.monotonic() + LOCK_SECONDS
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise ImageError(f"another still makes an image after {LOCK_SECONDS:g} s: {lock}") from None
                time.sleep(0.2)
        yield


def _tidy(cache: Path) -> None:
    """Remove what a killed build left, which nobody makes any more, and images unused for a month."""
    for old in cache.glob(f"{MAKING}-*"):
        shutil.rmtree(old, ignore_errors=True)
    for old in cache.glob("metal-*"):
        if old.stat().st_mtime < time.time() - 30 * 86400:
            shutil.rmtree(old, ignore_errors=True)


def _make(cache: Path, place: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=cache, prefix=f"{MAKING}-"))
    maker = subprocess.Popen(
        [*SPACE, sys.executable, "-m", "tests.metal.making", str(work)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C on the terminal is not for it
        env={**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT)},
    )
    with maker:  # closes the pipes, which is what it ends at, and waits
        assert maker.stdout is not None
        if maker.stdout.readline() != MADE.encode():
            raise ImageError("what making.py says above tells why")
        (work / "done").rename(place)


if __name__ == "__main__":
    print(provide().place)
