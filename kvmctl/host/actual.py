"""What the kernel makes of a running VM: where its threads may run and did run last, and where its memory lies.

libvirt tells some of it of any host; the rest is read from /proc where kvmctl runs on the host itself. QEMU is asked
nothing, but for the iothreads of a VM on another machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvmctl.host.library import libvirt
from kvmctl.host.threads import Thread, memory_by_node, process_of, threads
from kvmctl.plan.placement.sides import EMULATOR, Name

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.plan.placement.tuning import Policy
    from kvmctl.spec.kinds import CpuSet


@dataclass(frozen=True, kw_only=True)
class Actual:
    """What the kernel has of a thread; None where it is not known from here."""

    cpus: CpuSet
    cpu: int | None = None
    time: float | None = None
    policy: Policy | None = None


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What the kernel has of a VM; the emulator stands for all of QEMU's own threads, which are in `own`.

    `seen` says whether its process was looked at; without, there is only what libvirt tells.
    """

    threads: Mapping[Name, Actual] = field(default_factory=dict)
    own: Sequence[Thread] = ()
    memory: Mapping[int, int] | None = None
    seen: bool = False


def look(host: Host, domain: libvirt.virDomain, iothreads: bool) -> Kernel:
    """Look at a running VM. `iothreads`: it has some. libvirt's test driver makes up what it tells."""
    if not host.target.uri.startswith("qemu"):
        return Kernel()
    pid = process_of(host, domain.name(), domain.UUIDString())
    found = threads(pid) if pid else []
    if pid and found:
        return Kernel(
            threads=dict(_seen(found)),
            own=[thread for thread in found if thread.helps],
            memory=memory_by_node(pid),
            seen=True,
        )
    return Kernel(threads={**dict(_vcpus(domain)), **(dict(_iothreads(domain)) if iothreads else {})})


def _seen(found: Sequence[Thread]) -> Iterator[tuple[Name, Actual]]:
    for thread in found:
        if not thread.helps:
            name = ("iothread", thread.iothread or 0) if thread.vcpu is None else ("vcpu", thread.vcpu)
            yield name, Actual(cpus=thread.cpus, cpu=thread.cpu, time=thread.time, policy=thread.policy)
    own = [thread for thread in found if thread.helps]
    main = next((thread for thread in own if thread.main), own[0] if own else None)
    if main:
        cpus = frozenset().union(*(thread.cpus for thread in own))
        time = sum(thread.time for thread in own)
        yield EMULATOR, Actual(cpus=cpus, cpu=main.cpu, time=time, policy=main.policy)


def _vcpus(domain: libvirt.virDomain) -> Iterator[tuple[Name, Actual]]:
    with suppress(libvirt.libvirtError):  # an emulated VM may have one thread for all its vCPUs
        infos, masks = domain.vcpus()
        for (number, _, time, cpu), mask in zip(infos, masks):
            cpus = frozenset(each for each, there in enumerate(mask) if there)
            yield ("vcpu", number), Actual(cpus=cpus, cpu=cpu if cpu >= 0 else None, time=time / 1e9)


def _iothreads(domain: libvirt.virDomain) -> Iterator[tuple[Name, Actual]]:
    with suppress(libvirt.libvirtError):
        for number, mask in domain.ioThreadInfo(libvirt.VIR_DOMAIN_AFFECT_LIVE):
            yield ("iothread", number), Actual(cpus=frozenset(each for each, there in enumerate(mask) if there))
