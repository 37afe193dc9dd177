"""What the options of `kvmctl pin set` mean: text of the command line into the change that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kvmctl.commands._options import read
from kvmctl.errors import UsageError

if TYPE_CHECKING:
    from kvmctl.plan.placement.change import Change
    from kvmctl.plan.placement.tuning import Policy
    from kvmctl.spec.kinds import CpuSet, Kind

NONE = "none"
"""Takes a limit away."""


def change_of(options: dict[str, Any]) -> Change:
    """The change; an error for what is written wrongly, or if nothing is asked for."""
    from kvmctl.plan.placement.change import Change
    from kvmctl.plan.placement.pins import Pins
    from kvmctl.spec.kinds import CPUS, NODES, PERCENT, integer
    from kvmctl.spec.model.quota import PERIOD

    vcpus, policy_vcpus = _threads("--vcpu", options["vcpus"])
    iothreads, policy_iothreads = _threads("--iothread", options["iothreads"])
    policy = _policy("--scheduler", options["scheduler"])
    if policy is None and (policy_vcpus or policy_iothreads):
        raise UsageError(
            "usage",
            "--vcpu and --iothread without '=' name the threads that --scheduler is for",
            hint="to pin vCPU 0 to CPU 4, write --vcpu 0=4",
        )
    if options["mode"] and not options["nodes"]:
        raise UsageError("usage", "--mode says how firmly memory is held to --nodes, which is missing")
    kinds: dict[str, Kind] = {"shares": integer(0), "quota": PERCENT, "period": PERIOD}
    limits = {name: _limit(f"--{name}", kind, options[name]) for name, kind in kinds.items() if options[name]}
    change = Change(
        pins=Pins(
            vcpus=vcpus or None,
            emulator=read("--emulator", CPUS.parse, options["emulator"]),
            iothreads=iothreads or None,
            nodes=read("--nodes", NODES.parse, options["nodes"]),
            mode=options["mode"],
        ),
        policy=policy,
        policy_vcpus=policy_vcpus,
        policy_iothreads=policy_iothreads,
        emulator_policy=_policy("--emulator-scheduler", options["emulator_scheduler"]),
        limits=limits,
    )
    if change == Change():
        raise UsageError("usage", "nothing is asked for", hint="for example --vcpu 0=4 --emulator 0-1")
    return change


def _threads(option: str, given: Sequence[str]) -> tuple[dict[int, CpuSet], CpuSet]:
    """`0=4`, `0-1=4-5`, `0-1=4-7` as pins; numbers without CPUs as threads. As many CPUs as threads: each has one."""
    from kvmctl.spec.kinds import CPUS

    pins: dict[int, CpuSet] = {}
    named: CpuSet = frozenset()
    for text in given:
        left, equals, right = text.partition("=")
        numbers = read(option, CPUS.parse, left) or frozenset()
        cpus = read(option, CPUS.parse, right) if equals else None
        if cpus is None:
            named |= numbers
            continue
        twice = numbers & pins.keys()
        if twice:
            raise UsageError("usage", f"{option} {min(twice)} is given twice")
        single = len(cpus) == len(numbers)
        for number, cpu in zip(sorted(numbers), sorted(cpus) if single else [0] * len(numbers)):
            pins[number] = frozenset({cpu}) if single else cpus
    return pins, named


def _policy(option: str, text: str | None) -> Policy | None:
    """`batch`, or `fifo:10`."""
    from kvmctl.plan.placement.tuning import REALTIME, Policy
    from kvmctl.spec.kinds import choice, integer

    if text is None:
        return None
    name, colon, priority = text.partition(":")
    read(option, choice("other", "batch", "idle", *REALTIME).parse, name)
    if (name in REALTIME) != bool(colon):
        hint = f"{name}:10 for example; 99 comes before all others" if name in REALTIME else f"write {name} alone"
        raise UsageError("usage", f"{option}: fifo and rr have a priority, the others have none", hint=hint)
    return Policy(name=name, priority=read(option, integer(1, 99).parse, priority) if colon else None)


def _limit(option: str, kind: Kind, text: str) -> int | None:
    return None if text == NONE else read(option, kind.parse, text)
