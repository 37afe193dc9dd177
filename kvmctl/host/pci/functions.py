"""Virtual functions of a network card of this machine: how many there are, and what each is set to.

libvirt has no call for it, so the kernel is told below /sys, and the card's driver by `ip`. Needs root.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmctl.errors import KvmctlError, Refused, TimedOut
from kvmctl.host.machine import ROOT, is_here, number_of
from kvmctl.host.pci.inventory import inventory
from kvmctl.plan.pci.find import find
from kvmctl.plan.pci.hindrances import hindrances

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.pci.facts import Device, Inventory

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SECONDS = 30.0
RULE = "etc/udev/rules.d/80-kvmctl-{address}.rules"
RULE_TEXT = (
    '# Written by kvmctl pci vfs --boot.\nACTION=="add", SUBSYSTEM=="pci", KERNEL=="{address}", '
    'ATTR{{sriov_numvfs}}="{number}"\n'
)


def change(host: Host, word: str, number: int, work: Work, *, boot: bool | None = None) -> dict[str, Any]:
    """Have exactly so many functions. The answer of `pci vfs`; what fails leaves as many as there were.

    `boot`: also after each boot, or no longer; None leaves that as it is.
    """
    known, device = _card(host, word)
    before = len(device.virtual_functions)
    if number > device.most_virtual_functions:
        raise Refused(
            "device-refused",
            f"{word} can have {device.most_virtual_functions} virtual functions at most, not {number}",
            hint=f"kvmctl pci vfs {word} {device.most_virtual_functions}",
        )
    if number != before:
        _refuse_in_use(known, device)
        for card in device.interfaces:
            ip("link", "set", card, "up")
        _count(device.address, before, number, work)
    if boot is not None:
        _at_boot(device.address, number if boot and number else None)
    return {**_answer(inventory(host), device.address), "changed": number != before, "before": before}


def configure(host: Host, word: str, function: int, settings: Mapping[str, str]) -> dict[str, Any]:
    """Set what one function is: mac, vlan, spoofchk, trust, in the words of `ip link`."""
    known, device = _card(host, word)
    if function >= len(device.virtual_functions):
        raise Refused(
            "device-refused",
            f"{word} has {len(device.virtual_functions)} virtual functions, and none of number {function}",
            hint="they are counted from 0",
        )
    if not device.interfaces:
        raise Refused("device-refused", f"{device.address} has no network interface that could set it")
    for name, value in settings.items():
        ip("link", "set", device.interfaces[0], "vf", str(function), name, value)
    return {**_answer(known, device.address), "changed": bool(settings), "before": len(device.virtual_functions)}


def _card(host: Host, word: str) -> tuple[Inventory, Device]:
    if not is_here(host.target):
        raise Refused(
            "not-supported",
            "libvirt cannot change virtual functions, so this must be said on the host itself",
            hint=f"there: kvmctl pci vfs {word} …",
        )
    known = inventory(host)
    device = known.devices[find(known, word)]
    if not device.most_virtual_functions:
        raise Refused("device-refused", f"{word} ({device.address}) cannot have virtual functions")
    return known, device


def _refuse_in_use(known: Inventory, device: Device) -> None:
    """Changing their number takes all of them away first."""
    for address in device.virtual_functions:
        for hindrance in hindrances(known, address):
            raise Refused(
                "device-refused",
                f"{address} is in use: {hindrance.reason}",
                hint="detach it first; all functions go when their number changes",
            )


def _count(address: str, before: int, number: int, work: Work) -> None:
    """The kernel wants none between two numbers."""
    try:
        for wanted in (0, number) if before and number else (number,):
            _write(address, wanted)
            _await(address, wanted, work)
    except BaseException:
        with suppress(KvmctlError, OSError):
            _write(address, 0)
            _write(address, before)
        raise


def _write(address: str, number: int, system: Path = ROOT) -> None:
    path = system / "sys/bus/pci/devices" / address / "sriov_numvfs"
    try:
        path.write_text(str(number), encoding="ascii")
    except PermissionError as problem:
        raise Refused("not-supported", "only root can change virtual functions", hint="run it with sudo") from problem
    except OSError as problem:
        raise KvmctlError(
            "command-failed", f"the kernel does not make {number} functions of {address}: {problem.strerror}"
        ) from problem


def _await(address: str, number: int, work: Work, system: Path = ROOT) -> None:
    """Until they are there, with their drivers and names."""
    place = system / "sys/bus/pci/devices" / address
    ends = time.monotonic() + min(SECONDS, work.remaining())
    while number_of(place / "sriov_numvfs") != number or len(list(place.glob("virtfn*"))) != number:
        if time.monotonic() > ends:
            raise TimedOut("timed-out", f"{address} has not come to {number} virtual functions in time")
        time.sleep(0.05)
    with suppress(OSError, subprocess.SubprocessError):
        settle = ["udevadm", "settle", "--timeout=10"]
        subprocess.run(settle, env={"PATH": PATH}, timeout=SECONDS, capture_output=True, check=False)


def _at_boot(address: str, number: int | None, system: Path = ROOT) -> None:
    """A rule of udev, since the driver must be there first."""
    path = system / RULE.format(address=address)
    try:
        if number is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.write_text(RULE_TEXT.format(address=address, number=number), encoding="ascii")
        aside.replace(path)
    except OSError as problem:
        raise KvmctlError("write-failed", f"{path}: {problem.strerror}") from problem


def ip(*words: str) -> str:
    """What `ip` says. Raises KvmctlError with its own words where it fails."""
    try:
        done = subprocess.run(
            ["ip", *words],
            env={"PATH": PATH, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError as problem:
        raise Refused("resource-missing", "there is no ip, of iproute2", hint="install iproute2") from problem
    except subprocess.TimeoutExpired as problem:
        raise TimedOut("timed-out", f"ip {' '.join(words)} has not ended in time") from problem
    if done.returncode:
        raise KvmctlError("command-failed", f"ip {' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _answer(known: Inventory, address: str) -> dict[str, Any]:
    device = known.devices[address]
    return {
        "name": address,
        "address": address,
        "interfaces": list(device.interfaces),
        "virtual_functions": list(device.virtual_functions),
        "most_virtual_functions": device.most_virtual_functions,
        "boot": (ROOT / RULE.format(address=address)).exists(),
        "host": known.host,
    }
