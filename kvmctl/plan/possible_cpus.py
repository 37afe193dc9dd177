"""What speaks against a spec's pins, exclusive CPUs, shares of CPU time and schedulers on a host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvmctl.plan.objection import ERROR, NOTE, Asked, Objection
from kvmctl.plan.placement.finding import cpus, listed, verb
from kvmctl.plan.placement.ground import held_by
from kvmctl.plan.placement.trespass import name_of, pins_of
from kvmctl.plan.tuning import useless_quota
from kvmctl.spec.kinds import CpuSet, show_cpus
from kvmctl.spec.model.tuning import REALTIME

EXCLUSIVE = "cpus-exclusive"
AUTO = "cpu: {pin: auto} finds CPUs that are free"


def objections(asked: Asked) -> Iterator[Objection]:
    for path, pin in asked.pins.items():
        yield from _place(asked, path, pin)
        yield from _held(asked, path, pin)
    yield from _alone(asked)
    yield from _shared(asked)
    yield from _many(asked)
    yield from _quota(asked)
    yield from _schedulers(asked)


def _place(asked: Asked, path: str, pin: CpuSet) -> Iterator[Objection]:
    """CPUs that are not there, or offline."""
    there, online = asked.topology.cpus.keys(), asked.topology.online
    absent, away = pin - there, pin - online
    if absent:
        yield Objection(
            level=ERROR,
            path=path,
            message=f"the host has no {cpus(absent)}; it has {show_cpus(frozenset(there))}",
            hint="kvmctl host topology shows its CPUs",
            code="no-such-cpu",
        )
    elif away:
        lost = not pin & online
        yield Objection(
            level=ERROR if lost else NOTE,
            path=path,
            message=f"{cpus(away)} {verb(away, 'is', 'are')} offline",
            hint=f"on the host: echo 1 >/sys/devices/system/cpu/cpu{min(away)}/online" + " and so on" * (len(away) > 1),
            code="cpu-offline",
        )


def _held(asked: Asked, path: str, pin: CpuSet) -> Iterator[Objection]:
    """CPUs that another VM has for itself."""
    if asked.topology.online <= pin:
        return
    for other in asked.others:
        taken = pin & held_by(asked.topology, [other])
        if taken:
            yield Objection(
                level=ERROR,
                path=path,
                message=f"{cpus(taken)} {verb(taken, 'belongs', 'belong')} to {name_of(other)} alone",
                hint=AUTO,
                code=EXCLUSIVE,
            )


def _alone(asked: Asked) -> Iterator[Objection]:
    """CPUs that the spec wants for itself, and somebody else is on."""
    own = _union(asked.vcpu_pins.values())
    if not asked.wishes.exclusive or not own:
        return
    if asked.wishes.threads == "own_core":
        known, cores = asked.topology.cpus, asked.topology.cores
        own |= _union(frozenset(cores.get(known[number].core, ())) for number in own & known.keys())
    for other in asked.others:
        common = own & pins_of(asked.topology, other)
        if common and not other.exclusive:
            yield Objection(
                level=ERROR,
                path="cpu.placement.exclusive",
                message=f"{name_of(other)} is pinned to {cpus(common)} too",
                hint=f"kvmctl pin auto {other.vm} moves it, or {AUTO}",
                code=EXCLUSIVE,
            )


def _shared(asked: Asked) -> Iterator[Objection]:
    """Overcommitted CPUs: more vCPUs than one each, of this VM or with others."""
    own = _union(asked.vcpu_pins.values())
    if len(asked.vcpu_pins) > len(own) > 0:
        yield Objection(
            level=NOTE,
            path="cpu.pin",
            message=f"{len(asked.vcpu_pins)} vCPUs share {cpus(own)}, and wait for one another",
            code="vcpus-crowded",
        )
    if asked.wishes.exclusive:
        return
    pinned = [
        (other, own & pins_of(asked.topology, other, helpers=False)) for other in asked.others if not other.exclusive
    ]
    sharers = [other for other, common in pinned if common]
    if sharers:
        common = _union(common for _, common in pinned)
        yield Objection(
            level=NOTE,
            path="cpu.pin",
            message=f"{listed([name_of(other) for other in sharers])} {verb(sharers, 'has', 'have')} vCPUs on "
            f"{cpus(common)} too",
            hint=AUTO,
            code="shared-cpus",
        )


def _many(asked: Asked) -> Iterator[Objection]:
    online = len(asked.topology.online)
    if asked.vcpus > online > 0:
        yield Objection(
            level=NOTE,
            path="cpu.max" if asked.cpu.max else "cpu.count",
            message=f"{asked.vcpus} vCPUs are more than the host's {online} CPUs, so some wait while others run",
            code="more-vcpus-than-cpus",
        )


def _quota(asked: Asked) -> Iterator[Objection]:
    cpu, online = asked.cpu, len(asked.topology.online)
    if asked.cgroups is False and cpu.quota:
        yield Objection(
            level=ERROR,
            path="cpu.quota",
            message="a quota needs the CPU controller of cgroups, which libvirt does not have on this host",
            hint="leave out quota, or use a host whose libvirtd is run by systemd",
            code="no-cgroups",
        )
    if asked.cgroups is False and cpu.shares:
        yield Objection(
            level=NOTE,
            path="cpu.shares",
            message="shares have no effect without cgroups, which libvirt does not have on this host",
            code="no-cgroups",
        )
    # That the VM has not enough threads for it is known without a host, and told by `resolve`.
    if cpu.quota and cpu.quota >= 100 * online > 0 and not useless_quota(asked.vm):
        yield Objection(
            level=NOTE,
            path="cpu.quota",
            message=f"{cpu.quota}% limits nothing: the host has {online} CPUs",
            code="quota-without-effect",
        )


def _schedulers(asked: Asked) -> Iterator[Objection]:
    for number, scheduler in enumerate(asked.cpu.scheduler):
        if scheduler.policy in REALTIME and not asked.privileged:
            yield Objection(
                level=ERROR,
                path=f"cpu.scheduler[{number}]",
                message=f"the host's libvirt may not give real-time priorities, which {scheduler.policy} needs",
                hint="use root's libvirt, -H qemu:///system, or the policy batch",
                code="no-realtime-right",
            )


def _union(sets: Iterable[CpuSet]) -> CpuSet:
    return frozenset().union(*sets)
