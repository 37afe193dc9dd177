"""Sets trust and spoof check of virtual functions before a VM has them, by `ip`, since libvirt has no element for them.

It takes root on the host itself; from elsewhere nothing can be seen or set, and what is not safe is refused. For VMs
without virtual functions among their `networks` nobody is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kvmctl.errors import KvmctlError, Refused
from kvmctl.host.machine import ROOT, is_here
from kvmctl.host.pci import sysfs
from kvmctl.host.pci.functions import ip
from kvmctl.plan.pci.trust import SAFE, WORDS, changes, risky, told

if TYPE_CHECKING:
    from pathlib import Path

    from kvmctl.host.connection import Host

Said = Mapping[str, Mapping[str, bool]]
"""What is said of each function, by address: see `plan/pci/trust.py`."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing to be set of function `number` of a card, an interface; `before` is what it is."""

    card: str
    number: int
    key: str
    value: bool
    before: bool


def needed(host: Host, functions: Said, *, vm: str, again: bool = False, system: Path = ROOT) -> list[Change]:
    """What has to be set for these functions. Raises Refused where that cannot be done from here, or not at all.

    A VM that ran until now (`again`) goes on with what its functions are, where that cannot be seen.
    """
    if not functions:
        return []
    if not is_here(host.target):
        for address, said in functions.items():
            if risky(said) and not again:
                raise Refused(
                    "not-supported",
                    f"{' and '.join(risky(said))} of {address} can be set on {host.name} itself alone",
                    hint="start it there; or leave that out, and set it there: kvmctl pci vfs CARD --vf I …",
                    vm=vm,
                )
        return []
    found = [change for address, said in functions.items() for change in _changes(address, said, vm, system)]
    if found and os.geteuid():
        words = ", ".join(f"{each.card} vf {each.number} {WORDS[each.key]} {_word(each.value)}" for each in found)
        raise Refused("not-supported", f"only root can set {words}", hint="run it with sudo", vm=vm)
    return found


def entrust(found: list[Change], undo: Callable[[Callable[[], object]], object]) -> None:
    """Set it; `undo` is told how each is taken back."""
    for change in found:
        set_ = partial(ip, "link", "set", change.card, "vf", str(change.number), WORDS[change.key])
        set_(_word(change.value))
        undo(partial(set_, _word(change.before)))


def _changes(address: str, said: Mapping[str, bool], vm: str, system: Path) -> list[Change]:
    card, number = sysfs.function(address, system)
    for interface in sysfs.interfaces(card, system) if card else ():
        now = _now(interface).get(number)
        if now is not None:
            return [
                Change(card=interface, number=number, key=key, value=value, before=now.get(key, SAFE[key]))
                for key, value in changes(said, now).items()
            ]
    if risky(said):
        why = f"{card} has no network interface that can set it" if card else "it is no virtual function"
        raise Refused("device-refused", f"{' and '.join(risky(said))} of {address}: {why}", vm=vm)
    return []


def _now(interface: str) -> dict[int, dict[str, bool]]:
    try:
        return told(ip("-j", "link", "show", "dev", interface))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise KvmctlError(
            "command-failed", f"ip -j link show dev {interface} is not understood: {problem!r}"
        ) from problem


def _word(value: bool) -> str:
    return "on" if value else "off"
