"""One configuration of a VM, thread by thread: the one it runs with, or that of its next boot. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.plan.placement.pins import Pins, iothreads_of, most_vcpus, pins_of
from kvmctl.plan.placement.tuning import OTHER, Policy, Schedulers, Tuning, schedulers_of, tuning_of
from kvmctl.spec.kinds import CpuSet, show_cpus

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Name = tuple[str, int]
"""A thread: vcpu, emulator or iothread, and its number."""
EMULATOR: Name = ("emulator", 0)
WORDS = {"vcpu": "vCPU {}", "emulator": "the emulator", "iothread": "iothread {}"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a configuration says."""

    pins: Pins
    tuning: Tuning
    schedulers: Schedulers

    def pin(self, name: Name) -> CpuSet | None:
        """The CPUs of a thread; None if it floats."""
        kind, number = name
        if kind == "emulator":
            return self.pins.emulator
        return ((self.pins.vcpus if kind == "vcpu" else self.pins.iothreads) or {}).get(number)

    def policy(self, name: Name) -> Policy:
        kind, number = name
        if kind == "emulator":
            return self.schedulers.emulator or OTHER
        return (self.schedulers.vcpus if kind == "vcpu" else self.schedulers.iothreads).get(number, OTHER)


def side_of(domain: Element) -> Side:
    """What a document says."""
    return Side(pins=pins_of(domain), tuning=tuning_of(domain), schedulers=schedulers_of(domain))


def names_of(domain: Element) -> list[Name]:
    """Every thread that a VM has or can have."""
    vcpus = [("vcpu", number) for number in range(most_vcpus(domain))]
    return [*vcpus, EMULATOR, *(("iothread", number) for number in iothreads_of(domain))]


def online_vcpus(domain: Element) -> CpuSet:
    """The vCPUs that are plugged in."""
    listed = domain.findall("vcpus/vcpu")
    if listed:
        return frozenset(int(vcpu.get("id", "0")) for vcpu in listed if vcpu.get("enabled") == "yes")
    vcpu = domain.find("vcpu")
    current = vcpu.get("current") if vcpu is not None else None
    return frozenset(range(int(current) if current else most_vcpus(domain)))


def in_words(name: Name) -> str:
    """A thread as it is called in a sentence."""
    return WORDS[name[0]].format(name[1])


def places(side: Side, names: Iterable[Name], online: CpuSet) -> dict[str, str]:
    """Where a configuration has each thread; what floats, or is on every CPU, is on those that are online."""
    return {in_words(name): show_cpus((side.pin(name) or online) & online or online) for name in names}
