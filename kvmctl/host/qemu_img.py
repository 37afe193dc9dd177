"""Disk files made with qemu-img, on the embedded host, which has no storage pools.

Every call names the formats: a format is never guessed from what is in a file, since the guest may have written that.
Never overwrites a file, and leaves none behind that is not whole.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from kvmctl.errors import Conflict, KvmctlError, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.parallel import Work
    from kvmctl.plan.volumes import NewVolume

GLANCE = 0.1
"""How often a running qemu-img is looked at for Ctrl-C and the time limit, in seconds."""

QCOW2_MAGIC = b"QFI\xfb"
PATH_LIMIT = 1023
"""The longest backing file name that qcow2 allows."""


def make(volume: NewVolume, work: Work) -> None:
    """Make the file: whole under its name, or not at all."""
    _absolute(volume.path)
    arguments = ["create", "-q", "-f", volume.format]
    if volume.backing:
        arguments += ["-b", _absolute(volume.backing), "-F", volume.backing_format or "raw"]
    partial = _partial(volume.path)
    try:
        if os.path.lexists(volume.path):
            raise FileExistsError
        os.makedirs(os.path.dirname(volume.path), mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(partial)  # of a command that was killed
        _run([*arguments, partial, *([str(volume.size)] if volume.size else [])], work)
        _publish(partial, volume.path)
    except FileExistsError:
        message = f"{volume.path} exists already and is not overwritten"
        raise Conflict("disk-exists", message, hint="name the disk by path: to use it, or move it away") from None
    except OSError as error:
        raise KvmctlError("command-failed", f"cannot make {volume.path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            os.unlink(partial)


def remove(path: str) -> bool:
    """Delete the file, and what a killed command left of it; False if it was not there."""
    with suppress(FileNotFoundError):
        os.unlink(_partial(path))
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise KvmctlError("command-failed", f"cannot delete {path}: {error.strerror}") from error
    return True


def virtual_size(path: str, form: str, work: Work) -> int:
    """The size in bytes that a guest sees of an image, also of one in use."""
    told = json.loads(_run(["info", "-U", "--output=json", "-f", form, _absolute(path)], work))
    return int(told["virtual-size"])


def backing_file(path: str) -> str | None:
    """What a qcow2 file names as its backing file, as an absolute path. Reads the header itself, opens nothing else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        try:
            header = file.read(20)
            offset, length = int.from_bytes(header[8:16], "big"), int.from_bytes(header[16:20], "big")
            if not header.startswith(QCOW2_MAGIC) or not offset or not 0 < length <= PATH_LIMIT:
                return None
            file.seek(offset)
            name = os.fsdecode(file.read(length))
        except (OSError, OverflowError, ValueError):
            return None
    return name if name.startswith("json:") else os.path.normpath(os.path.join(os.path.dirname(path), name))


def _absolute(path: str) -> str:
    """QEMU takes `nbd:...` or `-x` for something else than a file; a path from the root is always one."""
    if not path.startswith("/"):
        raise Refused("not-supported", f"'{path}' is not an absolute path", hint="write the path from / on")
    return path


def _partial(path: str) -> str:
    """The name under which a disk is made; known, so that what was left of it is found."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.kvmctl-new")


def _publish(partial: str, path: str) -> None:
    """Give the file its name, unless that is taken."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: reserve the name, then move onto our own reservation.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.rename(partial, path)


def _run(arguments: Sequence[str], work: Work) -> str:
    """qemu-img's answer. It is ended when the work is interrupted or takes too long."""
    work.check()
    try:
        process = subprocess.Popen(
            ["qemu-img", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            umask=0o077,
            start_new_session=True,  # Ctrl-C is for us; we end it
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise Refused(
            "resource-missing",
            "disks are made with qemu-img, which is not installed",
            hint="install it: qemu-utils on Debian, qemu-img on Fedora and Arch",
        ) from None
    with process:
        try:
            while True:
                try:
                    stdout, stderr = process.communicate(timeout=GLANCE)
                    break
                except subprocess.TimeoutExpired:
                    work.check()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        said = stderr.strip().splitlines()[-1].removeprefix("qemu-img: ") if stderr.strip() else "it was ended"
        if "No space left on device" in said or "Disk quota exceeded" in said:
            raise Refused("no-space", f"qemu-img: {said}", hint="df -h shows which file system is full")
        raise KvmctlError("command-failed", f"qemu-img {arguments[0]}: {said}")
    return stdout
