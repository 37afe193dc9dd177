"""Looks at where VMs are, and says what is wrong with it: what `pin show` shows. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from kvmctl.host import states
from kvmctl.host.actual import Actual, Kernel, look
from kvmctl.host.connection import translated
from kvmctl.host.domains import find, summary
from kvmctl.host.library import libvirt
from kvmctl.host.tenants import tenant_of
from kvmctl.plan.placement.drift import drift
from kvmctl.plan.placement.pins import iothreads_of, most_vcpus, placement_of
from kvmctl.plan.placement.sides import EMULATOR, Name, Side, in_words, names_of, online_vcpus, places, side_of
from kvmctl.plan.placement.tuning import Tuning
from kvmctl.plan.placement.verdict import findings
from kvmctl.spec.kinds import CpuSet, show_cpus
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.host.connection import Host
    from kvmctl.host.surroundings import Surroundings
    from kvmctl.parallel import Work
    from kvmctl.plan.placement.finding import Finding
    from kvmctl.plan.topology import Topology

Values = dict[str, Any]


def inspect(host: Host, name: str, work: Work, around: Surroundings) -> Values:
    """Where one VM is, by name or UUID."""
    domain = find(host, name)
    with translated(vm=domain.name(), doing="look where it is", host=host.name):
        state = states.words(*domain.state())[0]
        running = state not in states.OFF and domain.ID() >= 0
        now = parse(domain.XMLDesc(0))
        later = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)) if domain.isPersistent() else None
        kernel = look(host, domain, bool(iothreads_of(now))) if running else Kernel()
    ground, everyone = around.of(host)
    live, next_boot = side_of(now) if running else None, None if later is None else side_of(later)

    def both(value: Callable[[Side], Any]) -> Values:
        return {
            "next_boot": None if next_boot is None else value(next_boot),
            "live": None if live is None else value(live),
        }

    def thread(name: Name) -> Values:
        actual = kernel.threads.get(name)
        return {
            **both(lambda side: _cpus(side.pin(name))),
            **_actual(actual, ground),
            "scheduler": {
                **both(lambda side: str(side.policy(name))),
                "actual": str(actual.policy) if actual and actual.policy else None,
            },
        }

    wrong = [*findings(ground, tenant_of(now, running=running), everyone, kernel.memory)]
    plugged = online_vcpus(now)
    if live is not None:
        there = [name for name in names_of(now) if name[0] != "vcpu" or name[1] in plugged]
        wrong += _drift(domain.name(), there, ground, live, next_boot, kernel)
    return {
        **summary(host, domain, state),
        "host_cpus": show_cpus(ground.online),
        "persistent": later is not None,
        "process": kernel.seen,
        "vcpus": [
            {"number": number, "online": number in plugged, **thread(("vcpu", number))}
            for number in range(most_vcpus(now))
        ],
        "emulator": {
            **thread(EMULATOR),
            "threads": [
                {"name": own.name, "actual": show_cpus(own.cpus), "cpu": own.cpu, "time": own.time}
                for own in kernel.own
            ],
        },
        "iothreads": [{"number": number, **thread(("iothread", number))} for number in iothreads_of(now)],
        "memory": {
            "nodes": both(lambda side: _cpus(side.pins.nodes)),
            "mode": both(lambda side: side.pins.mode),
            "actual": None if kernel.memory is None else {str(node): size for node, size in kernel.memory.items()},
        },
        **{each.name: both(partial(_limit, each.name)) for each in fields(Tuning)},
        "placement": placement_of(now if later is None else later),
        "findings": [{"code": found.code, "what": found.what, "hint": found.hint} for found in wrong],
    }


def _limit(name: str, side: Side) -> float | None:
    value: float | None = getattr(side.tuning, name)
    return value


def _cpus(cpus: CpuSet | None) -> str | None:
    return None if cpus is None else show_cpus(cpus)


def _actual(actual: Actual | None, ground: Topology) -> Values:
    """What the kernel has of a thread, with the node of the CPU that it was last on."""
    if actual is None:
        return {"actual": None, "cpu": None, "node": None, "time": None}
    there = None if actual.cpu is None else ground.cpus.get(actual.cpu)
    return {
        "actual": show_cpus(actual.cpus),
        "cpu": actual.cpu,
        "node": None if there is None else there.node,
        "time": actual.time,
    }


def _drift(
    vm: str, names: list[Name], ground: Topology, live: Side, next_boot: Side | None, kernel: Kernel
) -> Iterator[Finding]:
    """What the configurations of a running VM and the kernel have differently, of the threads that are there."""
    actual = {name: kernel.threads[name] for name in names if name in kernel.threads}
    # A policy that was set while the VM runs is known to the kernel alone.
    policies = {name: found.policy for name, found in actual.items() if found.policy}

    def said(side: Side) -> dict[str, str]:
        known = {f"the scheduler of {in_words(name)}": str(side.policy(name)) for name in names}
        held = side.pins.nodes if side.pins.nodes and not side.pins.nodes >= ground.nodes.keys() else None
        nodes = {"its memory nodes": _cpus(held) or "any"}
        return places(side, names, ground.online) | nodes | known

    now = said(live) | {f"the scheduler of {in_words(name)}": str(policy) for name, policy in policies.items()}
    return drift(
        vm,
        next_boot=None if next_boot is None else said(next_boot),
        live=now,
        actual={in_words(name): show_cpus(found.cpus) for name, found in actual.items() if found.cpus},
    )
