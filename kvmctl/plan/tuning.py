"""What `resolve` does about CPUs and NUMA nodes: leaves out what only a host can decide, and writes in full what the
spec may say in short. Chooses no CPU and no node: `plan/placement` does, before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.errors import KvmctlError
from kvmctl.plan.topology import EMULATOR, iothread
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.quota import USUAL
from kvmctl.spec.model.tuning import AUTO, Scheduler, Wishes, merged
from kvmctl.spec.model.vcpus import Baseline

if TYPE_CHECKING:
    from kvmctl.spec.model.numa import Cell, Numa
    from kvmctl.spec.model.vm import Vm


NODES = "nodes"
"""Where the memory is held, in `Wishes.by_hand`."""


def decided(vm: Vm, notes: list[str], *, known: bool) -> Vm:
    """Without what is decided on a host. There (`known`) it has been replaced before; without one, a note tells of it.

    That the pins are kvmctl's to choose stays with the VM.
    """
    cpu = vm.cpu
    if cpu is None:
        return vm
    left = {
        "pin: auto": cpu.pin == AUTO,
        "topology: auto": cpu.topology == AUTO,
        "model: {baseline: …}": isinstance(cpu.model, Baseline),
    }
    asked = [key for key, there in left.items() if there]
    if asked and known:
        raise KvmctlError("internal", f"{' and '.join(asked)} of {vm.name} has not been decided", vm=vm.name or "")
    if asked:
        notes.append(f"{vm.name}: left out here, since it is decided on a host, by 'kvmctl create': {', '.join(asked)}")
    if cpu.pin == AUTO:
        cpu = replace(cpu, pin=None, placement=chosen(vm))
    if cpu.topology == AUTO:
        cpu = replace(cpu, topology=None)
    if isinstance(cpu.model, Baseline):
        cpu = replace(cpu, model=None)
    return replace(vm, cpu=cpu)


def chosen(vm: Vm) -> Wishes:
    """The wishes of a VM for which kvmctl chooses what it leaves open."""
    cpu = vm.cpu or Cpu()
    threads = [EMULATOR] * (cpu.emulator_pin is not None) + [iothread(number) for number in cpu.iothread_pin or {}]
    by_hand = (*threads, *[NODES] * (vm.numa is not None and vm.numa.nodes is not None))
    return replace(cpu.placement or Wishes(), automatic=True, by_hand=by_hand)


def open_again(vm: Vm) -> Vm:
    """A VM as it was before kvmctl chose its place: what was chosen then does not bind the next choice."""
    cpu, numa = vm.cpu or Cpu(), vm.numa
    wishes = cpu.placement or Wishes()
    if numa and wishes.automatic and NODES not in wishes.by_hand:
        cells = tuple(replace(cell, nodes=None, mode=None) for cell in numa.cells)
        numa = replace(numa, nodes=None, mode=None, cells=cells) if cells else None
    threads = {number: pin for number, pin in (cpu.iothread_pin or {}).items() if iothread(number) in wishes.by_hand}
    return replace(
        vm,
        numa=numa,
        cpu=replace(
            cpu,
            pin=AUTO,
            emulator_pin=cpu.emulator_pin if EMULATOR in wishes.by_hand else None,
            iothread_pin=threads or None,
        ),
    )


def useless_quota(vm: Vm) -> str | None:
    """A note about a quota that all threads of the VM together cannot reach."""
    cpu = vm.cpu
    if cpu is None or not cpu.quota:
        return None
    threads = (cpu.max or cpu.count or 1) + (cpu.iothreads or 0) + 1  # QEMU's own, of which one at a time has the lock
    if cpu.quota <= threads * 100:
        return None
    return f"{vm.name}: quota: {cpu.quota}% limits nothing, its {threads} threads can use {threads * 100}% at most"


def in_full(vm: Vm) -> Vm:
    """As the XML says it: every scheduler with its vCPUs, every place of memory with its mode, distances both ways."""
    cpu, numa = vm.cpu, vm.numa
    if cpu is not None:
        usual = cpu.period == USUAL
        cpu = replace(cpu, scheduler=_schedulers(cpu), period=None if usual else cpu.period, pin=cpu.pin or None)
    return replace(vm, cpu=cpu, numa=numa and _numa(numa))


def _schedulers(cpu: Cpu) -> tuple[Scheduler, ...]:
    named = frozenset(vcpu for entry in cpu.scheduler for vcpu in entry.vcpus or ())
    others = frozenset(range(cpu.max or cpu.count or 1)) - named
    return merged(replace(entry, vcpus=entry.vcpus or others) for entry in cpu.scheduler)


def _numa(numa: Numa) -> Numa:
    usual = numa.mode or "strict"
    cells = tuple(
        replace(
            cell,
            mode=(cell.mode or usual) if cell.nodes else None,
            distances=_distances(numa.cells, number) or None,
        )
        for number, cell in enumerate(numa.cells)
    )
    return replace(numa, mode=usual if numa.nodes else None, cells=cells)


def _distances(cells: tuple[Cell, ...], number: int) -> dict[int, int]:
    """What a cell says, and what others say of it, as libvirt takes it."""
    said_of_it = {
        other: cell.distances[number] for other, cell in enumerate(cells) if cell.distances and number in cell.distances
    }
    return dict(sorted({**said_of_it, **(cells[number].distances or {})}.items()))
