"""The `cpu:` group: how many vCPUs, of which model, in which topology, on which CPUs of the host, with which share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from kvmctl.spec.declare import group, grouped, nested, pairs, scalar, through
from kvmctl.spec.kinds import CPUS, PERCENT, WORD, CpuSet, choice, integer, show_cpus
from kvmctl.spec.model.quota import LEAST, PERIOD, USUAL, Period, Quota
from kvmctl.spec.model.tuning import AUTO, PLACEMENT, THREAD, VCPU, Pin, Scheduler, Schedulers, Wishes
from kvmctl.spec.model.vcpus import MODEL, Baseline, Count, Model, Most

COUNT = integer(1, 4096)
POLICY = choice("force", "require", "optional", "disable", "forbid")


@group
class Topology:
    """What the guest sees: sockets, dies, cores and threads multiplied give the vCPUs (max, if it can grow)."""

    sockets: int | None = scalar("@sockets", COUNT, "Sockets.")
    dies: int | None = scalar("@dies", COUNT, "Dies in a socket.")
    cores: int | None = scalar("@cores", COUNT, "Cores in a die.")
    threads: int | None = scalar("@threads", COUNT, "Threads of a core.")

    def product(self) -> int:
        """How many vCPUs the topology has room for."""
        return (self.sockets or 1) * (self.dies or 1) * (self.cores or 1) * (self.threads or 1)

    def check(self) -> Iterator[tuple[str, str, str]]:
        for name in ("sockets", "cores", "threads"):
            if getattr(self, name) is None:
                yield "", f"{name} is missing", "give sockets, cores and threads"
                return


@group
class Cpu:
    """vCPUs."""

    SHORTHAND: ClassVar = "count"

    count: int | None = through(Count(), COUNT, "vCPUs at boot.", example="4")
    max: int | None = through(Most(), COUNT, "vCPUs that the VM can grow to while it runs; without it, count.")
    model: str | Baseline | None = grouped(
        Model(),
        Baseline,
        "CPU model the guest sees: host-model (like the host, and still migratable), host-passthrough, maximum, a name "
        "that libvirt knows, or the best that several hosts share. Left out, it is host-model under KVM and maximum "
        "under emulation; default leaves it to QEMU.",
        bare=MODEL,
    )
    features: Mapping[str, str] | None = pairs(
        "cpu/feature",
        "name",
        WORD,
        "policy",
        POLICY,
        "CPU features by name, each force, require, optional, disable or forbid.",
    )
    topology: Topology | str | None = nested(
        "cpu/topology",
        Topology,
        "Sockets, cores and threads that the guest sees; auto: as the CPUs it is pinned to really are.",
        bare=choice(AUTO),
    )
    pin: Mapping[int, CpuSet] | CpuSet | str | None = through(
        Pin(),
        CPUS,
        "Host CPUs to run on: for the whole VM, or for each vCPU by its number; auto: the best that the host has when "
        "the VM is created, as placement says.",
        key_kind=VCPU,
        bare=choice(AUTO, more=CPUS),
        example="auto",
    )
    placement: Wishes | None = nested(PLACEMENT, Wishes, "How pin: auto chooses CPUs, and whether they are shared.")
    emulator_pin: CpuSet | None = scalar(
        "cputune/emulatorpin/@cpuset", CPUS, "Host CPUs that QEMU's own threads may run on."
    )
    iothreads: int | None = scalar("iothreads", THREAD, "Threads that serve disks; see disks[].iothread.")
    iothread_pin: Mapping[int, CpuSet] | None = pairs(
        "cputune/iothreadpin", "iothread", THREAD, "cpuset", CPUS, "Host CPUs of each iothread, by its number from 1."
    )
    scheduler: tuple[Scheduler, ...] = grouped(
        Schedulers(), Scheduler, "Scheduler of the vCPUs; the kernel's usual one if left out.", many=True, one=True
    )
    shares: int | None = scalar("cputune/shares", integer(2, 262144), "Weight against other VMs when the host is busy.")
    quota: int | None = through(
        Quota(), PERCENT, "Most that all threads of the VM together may use, in percent of one host CPU."
    )
    period: int | None = through(
        Period(), PERIOD, "Time over which the quota is counted, from 1ms to 1s; 100ms if left out."
    )

    def check(self) -> Iterator[tuple[str, str, str]]:
        most = self.max or self.count or 1
        if self.max and not self.count:
            yield "max", "max is given without count", "write count: too, the vCPUs at boot"
        if self.count and self.max and self.count > self.max:
            yield (
                "max",
                f"max is {self.max}, less than count, which is {self.count}",
                f"write max: {self.count} or more",
            )
        room = self.topology.product() if isinstance(self.topology, Topology) else most
        if room != most:
            yield (
                "topology",
                f"the topology has room for {room} vCPUs, but there are {most}",
                f"make count {room}, or the product {most}",
            )
        yield from _check_pins(self, most)
        yield from _check_schedulers(self, most)
        if self.period and not self.quota:
            yield "period", "period is given without quota", "write quota: 100% too, or leave period out"
        period = self.period or USUAL
        if self.quota and self.quota * period // 100 < LEAST:
            percent = -(-LEAST * 100 // period)
            yield "quota", "the quota is too small for libvirt", f"write {percent}% or more, or a longer period"


# The checks below are functions, not methods: what is handed to them notes what they look at (see `structure.py`).


def _check_pins(cpu: Cpu, most: int) -> Iterator[tuple[str, str, str]]:
    for vcpu in cpu.pin if isinstance(cpu.pin, Mapping) else ():
        if vcpu >= most:
            yield f"pin.{vcpu}", f"there is no vCPU {vcpu}; the highest is {most - 1}", "vCPUs count from 0"
    if cpu.topology == AUTO and cpu.pin != AUTO and not isinstance(cpu.pin, Mapping):
        yield (
            "topology",
            "topology: auto follows the pins of the vCPUs, which have none of their own",
            "write pin: auto, or the topology in numbers",
        )
    wishes = cpu.placement or Wishes()
    if cpu.pin == AUTO or wishes.automatic:
        return
    if wishes.exclusive and not cpu.pin:
        yield (
            "placement.exclusive",
            "exclusive is about the CPUs that the VM is pinned to, and it is not",
            "write pin: auto, or name the CPUs",
        )
    given = "the CPUs are given" if cpu.pin else "pin is left out"
    for name in ("policy", "threads", "near", "stopped"):
        if getattr(wishes, name):
            hint = f"write pin: auto, or leave {name} out"
            yield f"placement.{name}", f"{name} is for pin: auto, and {given}", hint


def _check_schedulers(cpu: Cpu, most: int) -> Iterator[tuple[str, str, str]]:
    seen: frozenset[int] = frozenset()
    for index, entry in enumerate(cpu.scheduler):
        here = f"scheduler[{index}]"
        named = entry.vcpus or frozenset()
        if entry.vcpus is None and any(other.vcpus is None for other in cpu.scheduler[:index]):
            yield here, "two entries are for all the other vCPUs", "write vcpus: in one of them"
        if seen & named:
            yield f"{here}.vcpus", f"vCPU {show_cpus(seen & named)} has a scheduler already", "name each vCPU once"
        if max(named, default=0) >= most:
            said = f"there is no vCPU {max(named)}; the highest is {most - 1}"
            yield f"{here}.vcpus", said, "vCPUs count from 0"
        seen |= named
    if any(entry.vcpus is None for entry in cpu.scheduler) and seen >= frozenset(range(most)):
        yield "scheduler", "the entry without vcpus is for all the others, and there are none", "leave it out"
