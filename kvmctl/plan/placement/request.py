"""From a VM's spec to the planner's wish, and from its answer back into the spec. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmctl.plan.placement.mirror import mirror
from kvmctl.plan.placement.wish import Wish
from kvmctl.plan.tuning import chosen
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.numa import Numa
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.tuning import Wishes

if TYPE_CHECKING:
    from kvmctl.plan.placement.wish import Placement
    from kvmctl.plan.topology import Topology
    from kvmctl.spec.model.vm import Vm

AUTO = "auto"
FIRM = ("strict", "restrictive")
"""Modes under which memory lies on the nodes named, or nowhere."""


def wants_place(vm: Vm) -> bool:
    """Whether kvmctl is to choose where the VM goes."""
    return vm.cpu is not None and vm.cpu.pin == AUTO


def is_exclusive(vm: Vm) -> bool:
    """Whether no other VM may be on its CPUs."""
    return bool(vm.cpu and vm.cpu.placement and vm.cpu.placement.exclusive)


def ignores_stopped(vm: Vm) -> bool:
    """Whether it may have the CPUs of VMs that do not run."""
    return bool(vm.cpu and vm.cpu.placement and vm.cpu.placement.stopped == "ignore")


def concerns_place(vm: Vm) -> bool:
    """Whether the spec says anything of the host's CPUs, nodes or huge pages, so that these must be looked at."""
    cpu, memory = vm.cpu or Cpu(), vm.memory or Memory()
    tuned = (cpu.pin, cpu.emulator_pin, cpu.iothread_pin, cpu.scheduler, cpu.quota, cpu.placement)
    return any(tuned) or bool(memory.hugepages) or vm.numa is not None


def wish_of(
    vm: Vm,
    *,
    near: Sequence[int] = (),
    cpus: frozenset[int] | None = None,
    nodes: frozenset[int] | None = None,
    new: bool = False,
) -> Wish:
    """What a VM that is to be placed asks for. `near` are the nodes of the devices it names.

    `cpus` and `nodes` bound this one choice; without, the nodes that the VM names do. `new`: it is still to be made.
    """
    cpu, memory, numa = vm.cpu or Cpu(), vm.memory or Memory(), vm.numa or Numa()
    nodes = numa.nodes if nodes is None else nodes
    wishes = cpu.placement or Wishes()
    return Wish(
        vm=vm.name or "",
        vcpus=cpu.max or cpu.count or 1,
        memory=memory.max or memory.size or 0,
        page_size=memory.hugepages,
        strict=nodes is not None and (numa.mode or FIRM[0]) in FIRM,
        policy=wishes.policy or "compact",
        threads=wishes.threads or "share",
        exclusive=bool(wishes.exclusive),
        near=tuple(near),
        helpers=(cpu.emulator_pin is None) + len(_unpinned_iothreads(cpu)),
        cpus=cpus,
        nodes=nodes,
        new=new,
    )


def _unpinned_iothreads(cpu: Cpu) -> list[int]:
    pinned = cpu.iothread_pin or {}
    return [number for number in range(1, (cpu.iothreads or 0) + 1) if number not in pinned]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A spec with a place, and what could not be made as it was wished, in sentences."""

    vm: Vm
    sentences: tuple[str, ...]


def settled(vm: Vm, topology: Topology, placement: Placement) -> Settled:
    """The spec with everything that the planner chose; what it says itself stays.

    Memory that fits is held to its nodes. Overcommitted memory is not, since no node could give it all.
    """
    cpu, memory, numa = vm.cpu or Cpu(), vm.memory or Memory(), vm.numa or Numa()
    helpers = placement.helpers
    pins = {number: frozenset({host}) for number, host in enumerate(placement.vcpus)}
    threads = {**(cpu.iothread_pin or {}), **dict.fromkeys(_unpinned_iothreads(cpu), helpers)}
    sentences: tuple[str, ...] = ()
    seen = cpu.topology
    if seen == AUTO:
        reflection = mirror(
            topology, placement.vcpus, placement.memory, page_size=memory.hugepages, arch=vm.arch or "x86_64"
        )
        seen, sentences = reflection.topology, reflection.sentences
        if reflection.cells and not numa.cells:
            numa = replace(numa, cells=reflection.cells)
    if numa.nodes is None and placement.memory and not numa.cells:
        numa = replace(numa, nodes=frozenset(placement.memory), mode=numa.mode or FIRM[0])
    return Settled(
        vm=replace(
            vm,
            numa=numa if numa != Numa() else None,
            cpu=replace(
                cpu,
                pin=pins,
                emulator_pin=cpu.emulator_pin or helpers,
                iothread_pin=threads or None,
                topology=seen,
                placement=chosen(vm),
            ),
        ),
        sentences=sentences,
    )
