"""How much of the host a VM's threads get, and how the kernel schedules them: read from domain XML, and edited in it.

Pure. An edit changes the elements that it is about, and nothing else in the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.kinds import parse_cpus, show_cpus
from kvmctl.spec.lenses import prune, require
from kvmctl.spec.model.quota import USUAL

TUNE = ("cputune",)
SCHEDULERS = {"vcpusched": "vcpus", "emulatorsched": "", "iothreadsched": "iothreads"}
"""The elements, and the attribute that says which threads each is about."""
REALTIME = ("fifo", "rr")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How the kernel schedules a thread: other (its default), batch, idle, or fifo and rr with a priority."""

    name: str
    priority: int | None = None

    def __str__(self) -> str:
        return self.name if self.priority is None else f"{self.name}:{self.priority}"


OTHER = Policy(name="other")


@dataclass(frozen=True, kw_only=True)
class Schedulers:
    """Policies of threads, by number of vCPU or iothread; what is not named is left alone, or has the default."""

    vcpus: Mapping[int, Policy] = field(default_factory=dict)
    emulator: Policy | None = None
    iothreads: Mapping[int, Policy] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.vcpus or self.emulator or self.iothreads)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Shares are a weight, quotas percent of one host CPU, of each period; None is no limit."""

    shares: int | None = None
    quota: float | None = None
    period_us: int | None = None
    vcpu_quota: float | None = None
    emulator_quota: float | None = None
    iothread_quota: float | None = None


def tuning_of(domain: Element) -> Tuning:
    """What a definition says."""
    return Tuning(
        shares=_number(domain, "shares"),
        quota=_percent(domain, "global_"),
        period_us=_number(domain, "global_period"),
        vcpu_quota=_percent(domain, ""),
        emulator_quota=_percent(domain, "emulator_"),
        iothread_quota=_percent(domain, "iothread_"),
    )


def numbers_of(domain: Element) -> Mapping[str, int | None]:
    """The numbers that can be changed, as they stand."""
    return {name: _number(domain, name) for name in ("shares", "global_period", "global_quota")}


def write_number(domain: Element, name: str, value: int | None) -> None:
    """Have <cputune> say a number, or with None nothing."""
    if value is not None:
        require(domain, (*TUNE, name)).text = str(value)
        return
    for tune in domain.findall("cputune"):
        for old in tune.findall(name):
            tune.remove(old)
        prune(domain, TUNE)


def schedulers_of(domain: Element) -> Schedulers:
    """What a definition says."""
    found: dict[str, dict[int, Policy]] = {tag: {} for tag in SCHEDULERS}
    for tag, attribute in SCHEDULERS.items():
        for element in domain.findall(f"cputune/{tag}"):
            numbers = parse_cpus(element.get(attribute, "")) if attribute else frozenset({0})
            found[tag] |= dict.fromkeys(numbers, _policy(element))
    return Schedulers(
        vcpus=found["vcpusched"], emulator=found["emulatorsched"].get(0), iothreads=found["iothreadsched"]
    )


def write_schedulers(domain: Element, wanted: Schedulers) -> None:
    """Have the definition say what is wanted; other threads keep theirs. The default is said by saying nothing."""
    before = schedulers_of(domain)
    _write(domain, "vcpusched", {**before.vcpus, **wanted.vcpus})
    _write(domain, "iothreadsched", {**before.iothreads, **wanted.iothreads})
    emulator = wanted.emulator or before.emulator
    _write(domain, "emulatorsched", {0: emulator} if emulator else {})
    prune(domain, TUNE)


def _write(domain: Element, tag: str, policies: Mapping[int, Policy]) -> None:
    tune = require(domain, TUNE)
    for old in tune.findall(tag):
        tune.remove(old)
    for policy in dict.fromkeys(policies.values()):
        if policy == OTHER:
            continue
        element = SubElement(tune, tag)
        if SCHEDULERS[tag]:
            numbers = frozenset(number for number, found in policies.items() if found == policy)
            element.set(SCHEDULERS[tag], show_cpus(numbers))
        element.set("scheduler", policy.name)
        if policy.priority is not None:
            element.set("priority", str(policy.priority))


def _policy(element: Element) -> Policy:
    priority = element.get("priority")
    return Policy(name=element.get("scheduler", "other"), priority=int(priority) if priority else None)


def _number(domain: Element, name: str) -> int | None:
    with suppress(ValueError):
        return int(domain.findtext(f"cputune/{name}", ""))
    return None


def _percent(domain: Element, prefix: str) -> float | None:
    """A quota in percent of one CPU; a negative one is none."""
    quota, period = _number(domain, f"{prefix}quota"), _number(domain, f"{prefix}period") or USUAL
    return 100 * quota / period if quota and quota > 0 else None
