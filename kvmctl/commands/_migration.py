"""What the options of `kvmctl migrate` mean: which of its deeds is asked for, and text into the wish.

Says what is written wrongly, and what contradicts itself. What a host, a QEMU or a VM cannot do is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import read
from kvmctl.errors import UsageError

if TYPE_CHECKING:
    from kvmctl.plan.migration.wish import Wish

DEEDS = ("check", "status", "cancel", "recover")
"""Options that ask for something else than a move; a check takes the options of the move it is about."""
OFF = "off"
UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
LONGEST_PAUSE = 2000.0
"""Seconds: QEMU takes no longer limit."""
STEP = 10
"""Per cent that auto-converge takes more each time, unless told otherwise: QEMU's own."""
MIB = 1 << 20
MOVE_OPTIONS = (
    click.option("--max-downtime", metavar="TIME", help="Longest pause of the guest; 300ms if not given."),
    click.option("--deadline", metavar="SECONDS", help="When the move is to be over, counted from its start."),
    click.option(
        "--on-deadline",
        type=click.Choice(["abort", "postcopy", "pause", "continue"]),
        help="What to do when the deadline cannot be met with that pause; abort if not given.",
    ),
    click.option("--postcopy/--no-postcopy", default=None, help="Go over after the first pass, or never early."),
    click.option("--xbzrle", metavar="SIZE|off", help="Send what changed in a page alone, with a cache of this size."),
    click.option("--auto-converge", metavar="N[+STEP]|off", help="Slow the guest by N percent, then by STEP more."),
    click.option("--connections", type=click.IntRange(1, 255), metavar="N", help="Send over N connections at once."),
    click.option("--bandwidth", metavar="SIZE", help="Most bytes a second, for example 100MiB."),
    click.option("--p2p/--managed", default=None, help="Let the hosts talk to each other, or kvmctl with both."),
    click.option("--copy-disks", is_flag=True, help="Copy disks that the hosts do not share."),
    click.option(
        "--map",
        "maps",
        multiple=True,
        metavar="OLD=NEW",
        help="A path, network:NAME, bridge:NAME or pool:NAME, and the one there.",
    ),
    click.option("--tls", is_flag=True, help="Encrypt what is sent, with the certificates of the hosts."),
    click.option("--insecure", is_flag=True, help="Send in plain text even over a network that is not private."),
    click.option("--unsafe", is_flag=True, help="Take disks for shared, or safe to move, where nothing shows it."),
)


def move_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a move, for `wish_of`."""
    for option in reversed(MOVE_OPTIONS):
        function = option(function)
    return function


def deed_of(vms: Sequence[str], destination: str | None, options: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """What is asked for (`move`, or one of `DEEDS`), the VMs, and the host that they go to, or nothing."""
    asked = [deed for deed in DEEDS if options[deed]]
    if len(asked) > 1:
        raise UsageError("usage", f"--{asked[0]} and --{asked[1]} cannot be given together")
    deed = asked[0] if asked else "move"
    named = [*vms, *([destination] if destination is not None else [])]
    if deed in ("move", "check"):
        if len(named) < 2:
            raise UsageError("usage", "VMs are needed, and the host they go to", hint="kvmctl migrate VM HOST")
        return deed, list(dict.fromkeys(named[:-1])), named[-1]
    given = [name for name, value in options.items() if name not in DEEDS and value not in (None, False, ())]
    if given:
        raise UsageError("usage", f"--{deed} takes no other options of a migration, and no host")
    if deed == "cancel" and not named:
        raise UsageError("usage", "--cancel needs the VMs whose migration is to be called off")
    return deed, list(dict.fromkeys(named)), ""


def wish_of(options: Mapping[str, Any]) -> Wish:
    """The wish that the options stand for."""
    from kvmctl.plan.migration import mapping
    from kvmctl.plan.migration.wish import DOWNTIME_MS, Wish
    from kvmctl.spec.kinds import parse_size

    pause = read("--max-downtime", _duration, options["max_downtime"])
    if pause is not None and not 0.001 <= pause <= LONGEST_PAUSE:
        raise UsageError("usage", f"--max-downtime goes from 1ms to {LONGEST_PAUSE:.0f}s")
    bandwidth = read("--bandwidth", parse_size, options["bandwidth"])
    if bandwidth is not None and bandwidth < MIB:
        raise UsageError("usage", "--bandwidth: less than 1MiB a second cannot be had", hint="--bandwidth 100MiB")
    deadline = read("--deadline", _seconds, options["deadline"])
    if options["on_deadline"] and deadline is None:
        raise UsageError("usage", "--on-deadline says what to do at --deadline, which is missing")
    if options["on_deadline"] == "postcopy" and options["postcopy"] is False:
        raise UsageError("usage", "--on-deadline postcopy and --no-postcopy contradict each other")
    if options["tls"] and options["insecure"]:
        raise UsageError("usage", "--tls and --insecure contradict each other")
    return Wish(
        max_downtime_ms=DOWNTIME_MS if pause is None else round(pause * 1000),
        deadline=deadline,
        on_deadline=options["on_deadline"] or "abort",
        postcopy=options["postcopy"],
        xbzrle_cache=read("--xbzrle", lambda text: 0 if text == OFF else parse_size(text), options["xbzrle"]),
        auto_converge=read("--auto-converge", _throttle, options["auto_converge"]),
        connections=options["connections"],
        bandwidth=bandwidth,
        peer_to_peer=options["p2p"],
        tls=options["tls"],
        insecure=options["insecure"],
        unsafe=options["unsafe"],
        copy_disks=options["copy_disks"],
        maps=mapping.read(options["maps"]),
    )


def _throttle(text: str) -> tuple[int, int]:
    """`30+20` or `30`: per cent at first, and more each time."""
    if text == OFF:
        return 0, 0
    found = re.fullmatch(r"([1-9][0-9]?)%?(?:\+([1-9][0-9]?)%?)?", text)
    if not found:
        raise ValueError(f"'{text[:80]}' is not a percentage from 1 to 99, and what is added; write for example 30+10")
    return int(found[1]), int(found[2] or STEP)


def _duration(text: str) -> float:
    """`300ms`, `0.5s` in seconds."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([a-z]*)", text)
    if not found or found[2] not in UNITS:
        raise ValueError(f"'{text[:80]}' is not a time; write a number and one of {', '.join(UNITS)}: 300ms, 0.5s")
    return float(found[1]) * UNITS[found[2]]


def _seconds(text: str) -> float:
    """The same, and a number alone are seconds."""
    seconds = _duration(f"{text}s" if re.fullmatch(r"[0-9.]+", text) else text)
    if not seconds:
        raise ValueError("a deadline of no time at all cannot be met")
    return seconds
