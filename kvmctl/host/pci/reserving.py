"""Keeps devices of this machine for VMs from boot on, by files that udev and the initramfs read. Writing needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmctl.errors import KvmctlError, NotFound, Refused, TimedOut
from kvmctl.host.machine import ROOT, is_here, text_of
from kvmctl.host.pci.inventory import inventory
from kvmctl.host.undoing import Undo
from kvmctl.plan.pci.choose import Taste, choose
from kvmctl.plan.pci.find import find
from kvmctl.plan.pci.guard import check, refusal
from kvmctl.plan.pci.reservation import MAKERS, RULES, File, Maker, files, reserved
from kvmctl.spec.model.pci import Pci
from kvmctl.spec.model.vm import Vm

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def reserve(
    host: Host,
    words: Sequence[str],
    work: Work,
    *,
    forced: Collection[str] = (),
    remove: bool = False,
    install: bool = False,
    system: Path = ROOT,
) -> dict[str, Any]:
    """Keep these too, or no longer. The answer of `pci reserve`; raises with all files as they were."""
    if not is_here(host.target):
        raise Refused(
            "not-supported",
            "how a host boots is not libvirt's, so this must be said on the host itself",
            hint=f"there: kvmctl pci reserve {' '.join(words)}",
        )
    before = reserved_here(system)
    notes: list[str] = []
    if remove:
        addresses = _without(host, before, words)
    else:
        more, notes = _more(host, words, forced)
        addresses = tuple(sorted({*before, *more}))
    maker = next((maker for maker in MAKERS if (system / maker.needs.lstrip("/")).exists()), None)
    wanted = files(addresses, maker)
    if install:
        with Undo(host.name) as undo:
            _write(wanted if addresses else (), [file.path for file in wanted], undo, system)
            _rebuild(maker, work)
    return {
        "name": " ".join(words) or host.name,
        "devices": list(addresses),
        "changed": install and addresses != before,
        "installed": install,
        "files": [{"path": file.path, "mode": f"{file.mode:04o}", "text": file.text} for file in wanted],
        "command": " ".join(maker.command) if maker else None,
        "notes": notes,
        "host": host.name,
    }


def reserved_here(system: Path = ROOT) -> tuple[str, ...]:
    """The devices that this machine keeps for VMs from boot on."""
    return reserved(text_of(system / RULES.lstrip("/")) or "")


def _more(host: Host, words: Sequence[str], forced: Collection[str]) -> tuple[tuple[str, ...], list[str]]:
    """The devices that are meant, with what shares their groups. The host itself may be made ready by the same boot."""
    if not words:
        return (), []
    known = inventory(host)
    vm = Vm(name="", pci=tuple(Pci(device=word) for word in words))
    chosen = choose(vm, known, Taste(aliases=host.target.devices))
    found = check(known, chosen.addresses, forced=forced)
    own = [each for each in found if each.subject and each.code not in ("device-in-use", "vfs-in-use", "pf-down")]
    error = refusal(own)
    if error is not None:
        raise error
    said = [each.what for each in found if not each.subject or (each.verdict == "warning" and each in own)]
    return chosen.addresses, [*chosen.sentences, *said]


def _without(host: Host, before: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """A device that is gone can be named by its address all the same."""
    known = inventory(host)
    gone = {word if word in before else find(known, word) for word in words}
    strangers = sorted(gone.difference(before))
    if strangers:
        raise NotFound(
            "device-not-found",
            f"{', '.join(strangers)} is not kept for VMs",
            hint=f"kept are {', '.join(before) or 'none'}",
        )
    return tuple(address for address in before if address not in gone)


def _write(wanted: Sequence[File], paths: Sequence[str], undo: Undo, system: Path) -> None:
    """Exactly these files of all that may be there."""
    texts = {file.path: file for file in wanted}
    for name in paths:
        path = system / name.lstrip("/")
        undo.add(_putting_back(path))
        file = texts.get(name)
        _put(path, file.text if file else None, file.mode if file else 0)


def _putting_back(path: Path) -> Callable[[], None]:
    before = path.read_text(encoding="utf-8") if path.exists() else None
    mode = path.stat().st_mode & 0o777 if path.exists() else 0
    return lambda: _put(path, before, mode)


def _put(path: Path, text: str | None, mode: int) -> None:
    try:
        if text is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.new")
        aside.write_text(text, encoding="utf-8")
        aside.chmod(mode)
        aside.replace(path)
    except PermissionError as problem:
        raise Refused("not-supported", f"only root can write {path}", hint="run it with sudo") from problem
    except OSError as problem:
        raise KvmctlError("write-failed", f"{path}: {problem.strerror}") from problem


def _rebuild(maker: Maker | None, work: Work) -> None:
    """Have the initramfs made again, which takes most of a minute for each kernel."""
    if maker is None:
        return
    said = " ".join(maker.command)
    try:
        done = subprocess.run(
            maker.command,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=work.remaining(),
            check=False,
        )
    except FileNotFoundError as problem:
        raise Refused(
            "resource-missing", f"there is no {maker.command[0]}", hint=f"install it; then: {said}"
        ) from problem
    except subprocess.TimeoutExpired as problem:
        raise TimedOut("timed-out", f"{said} has not ended in time", hint="--timeout gives it longer") from problem
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise KvmctlError("command-failed", f"{said}: {last}")
