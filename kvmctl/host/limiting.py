"""Schedulers, shares and quota of a VM that runs. libvirt sets the last two, where it has cgroups.

For schedulers it has no call: the kernel is asked itself, where kvmctl runs on the host and may. What cannot be done to
the running VM, and comes with its next boot, is told in a sentence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from kvmctl.errors import Refused
from kvmctl.host.pinning import LIVE, later, refusal
from kvmctl.host.threads import POLICIES, Thread, process_of, threads
from kvmctl.spec.model.quota import USUAL

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt
    from kvmctl.host.undoing import Undo
    from kvmctl.plan.placement.tuning import Policy, Schedulers

NAMES = {"shares": "cpu_shares", "global_period": "global_period", "global_quota": "global_quota"}
"""Elements of the XML, and libvirt's names for the same."""
SHARES = {1: 1024, 2: 100}
"""What a VM has that was given none, by version of cgroups."""
UNLIMITED = -1


def limit(
    domain: libvirt.virDomain,
    numbers: Mapping[str, int | None],
    before: Mapping[str, int | None],
    *,
    cgroups: int | None,
    config: bool,
    undo: Undo,
) -> Iterator[str]:
    """Set elements of <cputune>; None stands for the kernel's own value. Sentences about what could not be done."""
    if cgroups == 0:
        return  # nothing can be done, now or later, which has been said
    usual = {"shares": SHARES.get(cgroups or 0), "global_period": USUAL, "global_quota": UNLIMITED}

    def values(given: Mapping[str, int | None]) -> dict[str, int]:
        wanted = {NAMES[name]: given.get(name) or usual[name] for name in numbers}
        return {name: value for name, value in wanted.items() if value is not None}

    if "shares" in numbers and values(numbers).get("cpu_shares") is None:
        yield later(domain, "shares", "what a VM without has is not known from here", config=config)
    if not values(numbers):
        return
    why = refusal(domain, partial(domain.setSchedulerParametersFlags, values(numbers), LIVE))
    if not why:
        if back := values(before):
            undo.add(partial(domain.setSchedulerParametersFlags, back, LIVE))
    elif numbers.get("global_quota"):
        raise Refused(
            "not-supported",
            f"a quota cannot be had on this host, and the VM would not start with one: {why}",
            hint="it needs a system daemon with cgroups for CPU time, which containers seldom have",
            vm=domain.name(),
        )
    elif "shares" in numbers:
        yield later(domain, "shares", why, config=config)


def schedule(host: Host, domain: libvirt.virDomain, wanted: Schedulers, *, config: bool, undo: Undo) -> Iterator[str]:
    """Have the kernel schedule threads as wanted; those that are not there have none. Sentences likewise."""
    if not wanted:
        return
    pid = process_of(host, domain.name(), domain.UUIDString())
    if pid is None:
        yield later(
            domain, "the scheduler", "only kvmctl on the host itself can, and libvirt has no call for it", config=config
        )
        return
    for thread in threads(pid):
        policy = policy_for(thread, wanted)
        if policy is None or policy == thread.policy:
            continue
        try:
            _set(thread.tid, policy)
        except PermissionError:
            yield later(domain, "the scheduler", "only root may do that", config=config)
            return
        except ProcessLookupError:  # ended meanwhile
            continue
        undo.add(partial(_set, thread.tid, thread.policy))


def policy_for(thread: Thread, wanted: Schedulers) -> Policy | None:
    """What is wanted of a thread. As with libvirt, of QEMU's own ones only the first is meant."""
    if thread.vcpu is not None:
        return wanted.vcpus.get(thread.vcpu)
    if thread.iothread is not None:
        return wanted.iothreads.get(thread.iothread)
    return wanted.emulator if thread.main else None


def _set(tid: int, policy: Policy) -> None:
    number = next(number for number, name in POLICIES.items() if name == policy.name)
    os.sched_setscheduler(tid, number, os.sched_param(policy.priority or 0))
