"""Generated specs made free of contradictions about CPUs, threads and NUMA nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.numa import Cell, Numa
from kvmctl.spec.model.processor import Cpu, Topology
from kvmctl.spec.model.tuning import Scheduler, Wishes
from kvmctl.spec.model.vcpus import Baseline
from kvmctl.spec.model.vm import Vm


def placed(value: Any) -> Any:
    """A group that chance has made, repaired."""
    if isinstance(value, Scheduler):
        policy = value.policy or "idle"
        return replace(value, policy=policy, priority=(value.priority or 1) if policy in ("fifo", "rr") else None)
    if isinstance(value, Cell):
        return replace(value, memory=value.memory or 2**30, mode=value.mode if value.nodes else None)
    if isinstance(value, Numa):
        return numa(value)
    assert isinstance(value, Cpu)
    return cpu(value)


def cpu(value: Cpu) -> Cpu:
    count = value.count or 1
    most = value.max if value.max and value.max > count else count
    pin = value.pin
    if isinstance(pin, Mapping):
        pin = {vcpu % most: cpus for vcpu, cpus in pin.items()}
    topology = value.topology
    if isinstance(topology, Topology):
        topology = Topology(sockets=1, cores=most, threads=1)
    elif pin != "auto" and not isinstance(pin, Mapping):
        topology = None
    wishes = value.placement
    if wishes and pin != "auto" and not wishes.automatic:
        wishes = Wishes(exclusive=wishes.exclusive and pin is not None)
    return replace(
        value,
        count=count,
        max=most if most > count else None,
        model=Baseline(baseline=("host1",)) if isinstance(value.model, Baseline) else value.model,
        pin=pin,
        topology=topology,
        placement=wishes,
        iothread_pin={number % value.iothreads + 1: cpus for number, cpus in (value.iothread_pin or {}).items()} or None
        if value.iothreads
        else None,
        scheduler=schedulers(value.scheduler, most),
        period=value.period if value.quota else None,
        quota=value.quota and max(value.quota, 100),
    )


def schedulers(entries: tuple[Scheduler, ...], most: int) -> tuple[Scheduler, ...]:
    """Each vCPU in one entry at most; the last entry may be for all the others."""
    made = []
    free = set(range(most))
    for index, entry in enumerate(entries):
        vcpus = frozenset({vcpu % most for vcpu in entry.vcpus or (index,)} & free)
        if vcpus:
            made.append(replace(entry, vcpus=vcpus))
            free -= vcpus
    if made and free and entries[-1].vcpus is None:
        made[-1] = replace(made[-1], vcpus=None)
    return tuple(made)


def numa(value: Numa) -> Numa:
    """Distances to other cells that are there; a mode only where nodes are named."""
    mode = value.mode if value.nodes else None
    cells = []
    for number, cell in enumerate(value.cells):
        distances = {other % len(value.cells): far for other, far in (cell.distances or {}).items()}
        distances.pop(number, None)
        own = mode if mode == "restrictive" and cell.mode else cell.mode
        cells.append(replace(cell, distances=distances or None, mode=own, cpus=frozenset({number})))
    return replace(value, mode=mode, cells=tuple(cells))


def spread(vm: Vm) -> tuple[Numa | None, Memory]:
    """The cells with all vCPUs of the VM, as far as there are vCPUs; memory that is the sum of theirs."""
    memory = vm.memory or Memory(size=2**30)
    if vm.numa is None or not vm.numa.cells:
        return vm.numa, memory
    most = (vm.cpu and (vm.cpu.max or vm.cpu.count)) or 1
    count = len(vm.numa.cells)
    cells = tuple(
        replace(cell, cpus=frozenset(range(number, most, count)) or None, memory=(number + 1) * 2**28)
        for number, cell in enumerate(vm.numa.cells)
    )
    whole = sum(cell.memory or 0 for cell in cells)
    return replace(vm.numa, cells=cells), replace(memory, size=whole, max=None)
