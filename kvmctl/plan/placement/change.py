"""What `pin set` asks for, what that comes to for one VM, and what speaks against it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kvmctl.plan.objection import ERROR, NOTE, Objection
from kvmctl.plan.placement.finding import verb
from kvmctl.plan.placement.pins import Pins, iothreads_of, most_vcpus, write_pins
from kvmctl.plan.placement.tuning import REALTIME, Policy, Schedulers, tuning_of, write_number, write_schedulers
from kvmctl.plan.possible import impossible
from kvmctl.plan.possible_cpus import EXCLUSIVE
from kvmctl.plan.tuning import useless_quota
from kvmctl.spec.kinds import CpuSet, show_cpus
from kvmctl.spec.model.quota import LEAST, USUAL
from kvmctl.spec.xmlio import vm_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.plan.topology import Tenant, Topology

SHARES = {1: (2, 262_144), 2: (1, 10_000)}
"""What the kernel takes, by version of its cgroups."""
ABOUT = {
    r"cpu\.pin\.(\d+)": r"vCPU \1",
    r"cpu\.iothread_pin\.(\d+)": r"iothread \1",
    r"cpu\.emulator_pin": "emulator",
    r"cpu\.scheduler\[\d+\]": "scheduler",
    r"cpu\.(quota|shares)": r"\1",
    r"numa\.(nodes|mode)": r"\1",
    r"cpu\.pin": "vCPUs",
    r"cpu\.placement\.exclusive": "exclusive",
}
"""Keys of the spec that `pin set` changes, and what they are called here."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is asked for of each VM. `policy` is for the vCPUs and iothreads named, or for all vCPUs if none are.

    `limits` has shares, quota (percent of one CPU) and period (microseconds): only those to be changed, None to take
    one away.
    """

    pins: Pins = field(default_factory=Pins)
    policy: Policy | None = None
    policy_vcpus: CpuSet = frozenset()
    policy_iothreads: CpuSet = frozenset()
    emulator_policy: Policy | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What it comes to for one VM. `numbers` are elements of <cputune>; None takes one away."""

    pins: Pins
    schedulers: Schedulers
    numbers: Mapping[str, int | None]

    def write(self, domain: Element) -> None:
        """Have a definition say it."""
        write_pins(domain, self.pins)
        write_schedulers(domain, self.schedulers)
        for name, value in self.numbers.items():
            write_number(domain, name, value)

    def as_dict(self) -> dict[str, Any]:
        """What is set, as it is shown: CPU sets and policies as text, quota in percent; nothing that is left alone."""
        pins, policies, numbers = self.pins, self.schedulers, self.numbers
        shown: dict[str, Any] = {
            "vcpus": {str(number): show_cpus(cpus) for number, cpus in (pins.vcpus or {}).items()},
            "emulator": show_cpus(pins.emulator or frozenset()),
            "iothreads": {str(number): show_cpus(cpus) for number, cpus in (pins.iothreads or {}).items()},
            "nodes": show_cpus(pins.nodes or frozenset()),
            "mode": pins.mode,
            "vcpu_schedulers": {str(number): str(policy) for number, policy in policies.vcpus.items()},
            "emulator_scheduler": str(policies.emulator or ""),
            "iothread_schedulers": {str(number): str(policy) for number, policy in policies.iothreads.items()},
        }
        shown = {name: value for name, value in shown.items() if value}
        if "shares" in numbers:
            shown["shares"] = numbers["shares"]
        if "global_quota" in numbers:
            quota, period = numbers["global_quota"], numbers["global_period"]
            shown |= {"quota": 100 * quota / period if quota and period else None, "period_us": period}
        return shown


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What a host's libvirt may do. `cgroups` is the version of those for CPU time, 0 for none, None if not known."""

    privileged: bool = True
    cgroups: int | None = None


def settle(change: Change, domain: Element) -> Settled:
    """What a change comes to for the VM that this document is of."""
    named = change.policy_vcpus or change.policy_iothreads
    vcpus = change.policy_vcpus if named else frozenset(range(most_vcpus(domain)))
    policy = change.policy
    return Settled(
        pins=change.pins,
        schedulers=Schedulers(
            vcpus={} if policy is None else dict.fromkeys(sorted(vcpus), policy),
            emulator=change.emulator_policy,
            iothreads={} if policy is None else dict.fromkeys(sorted(change.policy_iothreads), policy),
        ),
        numbers=_numbers(change.limits, domain),
    )


def _numbers(limits: Mapping[str, int | None], domain: Element) -> Mapping[str, int | None]:
    """A quota is written with its period, and a new period keeps the percentage."""
    found = {"shares": limits["shares"]} if "shares" in limits else {}
    if "quota" in limits or "period" in limits:
        before = tuning_of(domain)
        quota = limits.get("quota", before.quota)
        period = limits.get("period", before.period_us if quota else None) or (USUAL if quota else None)
        found["global_period"] = period
        found["global_quota"] = round(period * quota / 100) if period and quota else None
    return found


def objections(
    wanted: Settled,
    domain: Element,
    *,
    topology: Topology,
    others: Sequence[Tenant],
    rights: Rights,
    force: bool = False,
) -> tuple[Objection, ...]:
    """What speaks against it and did not before, errors first. `force` allows CPUs that other VMs have alone."""
    after = deepcopy(domain)
    wanted.write(after)

    def all_of(document: Element) -> tuple[Objection, ...]:
        cgroups = None if rights.cgroups is None else rights.cgroups > 0
        return impossible(vm_of(document), topology, others, privileged=rights.privileged, cgroups=cgroups)

    before = all_of(domain)
    new = [
        _renamed(found) for found in all_of(after) if found not in before and not (force and found.code == EXCLUSIVE)
    ]
    found = [*_threads(wanted, domain), *_realtime(wanted, rights), *_limits(wanted, rights), *new]
    useless = useless_quota(vm_of(after))
    if useless and wanted.numbers.get("global_quota"):
        said = useless.removeprefix(f"{domain.findtext('name')}: ")
        found.append(Objection(level=NOTE, path="", message=said, code="quota-without-effect"))
    return tuple(sorted(found, key=lambda objection: objection.level != ERROR))


def _renamed(objection: Objection) -> Objection:
    """Of keys of a spec people need not know here."""
    for key, words in ABOUT.items():
        if re.fullmatch(key, objection.path):
            hint = (
                "choose others, which kvmctl host topology shows, or --force" if objection.code == EXCLUSIVE else None
            )
            path = re.sub(key, words, objection.path)
            said = objection.message.startswith(path)
            return replace(objection, path="" if said else path, hint=hint or objection.hint)
    return objection


def _threads(wanted: Settled, domain: Element) -> Iterator[Objection]:
    """Threads that the VM does not have."""
    pins, policies = wanted.pins, wanted.schedulers
    for what, known, asked in (
        ("vcpu", frozenset(range(most_vcpus(domain))), {*(pins.vcpus or {}), *policies.vcpus}),
        ("iothread", frozenset(iothreads_of(domain)), {*(pins.iothreads or {}), *policies.iothreads}),
    ):
        if missing := frozenset(asked - known):
            there = f"it has {show_cpus(known)}" if known else "it has none"
            yield Objection(
                level=ERROR,
                path=what,
                message=f"{show_cpus(missing)} {verb(missing, 'is', 'are')} not there; {there}",
                hint=f"kvmctl pin show {domain.findtext('name')}",
                code=f"no-such-{what}",
            )


def _realtime(wanted: Settled, rights: Rights) -> Iterator[Objection]:
    """Of QEMU's own threads and iothreads; the spec knows schedulers of vCPUs only, and says the same of them."""
    helpers = [wanted.schedulers.emulator, *wanted.schedulers.iothreads.values()]
    if not rights.privileged and any(policy and policy.name in REALTIME for policy in helpers):
        yield Objection(
            level=ERROR,
            path="scheduler",
            message="the host's libvirt may not give real-time priorities",
            hint="use root's libvirt, -H qemu:///system, or the policy batch",
            code="no-realtime-right",
        )


def _limits(wanted: Settled, rights: Rights) -> Iterator[Objection]:
    """Numbers that the kernel does not take."""
    shares, quota = wanted.numbers.get("shares"), wanted.numbers.get("global_quota")
    least, most = SHARES.get(rights.cgroups or 0, (1, 262_144))
    if shares is not None and not least <= shares <= most:
        yield Objection(
            level=ERROR,
            path="shares",
            message=f"{shares} is not between {least} and {most}, which this host's cgroups take",
            hint="a VM without has 100" if rights.cgroups == 2 else "a VM without has 1024, or 100 under cgroups v2",
            code="shares-out-of-range",
        )
    if wanted.numbers.get("global_period") and not quota:
        yield Objection(
            level=ERROR,
            path="period",
            message="it has no quota that could be counted over it",
            hint="give --quota 100% too",
            code="period-without-quota",
        )
    if quota is not None and quota < LEAST:
        yield Objection(
            level=ERROR,
            path="quota",
            message=f"it leaves {quota} microseconds in each period, and libvirt wants {LEAST} or more",
            hint="more percent, or a longer --period",
            code="quota-too-small",
        )
