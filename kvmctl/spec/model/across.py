"""Checks that need more than one group of a spec: iothreads and disks; NUMA cells, vCPUs, memory and PCI devices.

Numbers that `raw_xml` says otherwise are left to libvirt to judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.spec.kinds import show_cpus, show_size
from kvmctl.spec.model.board import pci_of
from kvmctl.spec.model.tuning import AUTO

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.spec.model.vm import Vm

Mistakes = Iterator[tuple[str, str, str]]
ONES = "write machine: q35, or virt for ARM, or leave this out"


def check(vm: Vm, raw: Element | None) -> Mistakes:
    """What is wrong between groups; `raw` is the fragment of raw_xml."""
    if raw is None or raw.find("iothreadids") is None:
        yield from _threads(vm)
    if vm.numa and vm.numa.cells:
        yield from _cells(vm, more_memory=raw is not None and raw.find("devices/memory") is not None)
    if vm.numa and vm.numa.mode and not vm.numa.nodes:
        placed = vm.cpu and vm.cpu.pin == AUTO
        if not placed and not any(cell.nodes for cell in vm.numa.cells):
            yield "numa.mode", "mode is given without nodes", "write nodes: too, the nodes of the host"
    if any(entry.together or entry.guest_node is not None for entry in vm.pci):
        yield from _guest_nodes(vm, raw)
        yield from _guest_slots(vm, raw)


def _guest_nodes(vm: Vm, raw: Element | None) -> Mistakes:
    """Nodes of the guest that devices are to be near to."""
    if raw is not None and raw.find("cpu/numa") is not None:
        return
    count = len(vm.numa.cells) if vm.numa else 0
    later = not count and vm.cpu and vm.cpu.topology == AUTO
    for index, entry in enumerate(vm.pci):
        here = f"pci[{index}].guest_node"
        if entry.guest_node is None or later:
            continue
        if not count:
            yield here, "the guest sees no NUMA nodes", "write them as numa: {cells: …}, or leave this out"
        elif isinstance(entry.guest_node, int) and entry.guest_node >= count:
            yield here, f"there is no cell {entry.guest_node}; the highest is {count - 1}", "cells count from 0"


def _guest_slots(vm: Vm, raw: Element | None) -> Mistakes:
    """What the machine has no PCI for, where it is named."""
    machine = vm.machine
    if machine is None or (raw is not None and raw.find("devices/controller[@type='pci']") is not None):
        return
    kind = pci_of(machine, vm.arch or ("aarch64" if machine.startswith("virt") else None))
    for index, entry in enumerate(vm.pci):
        if entry.guest_node is not None and kind != "express":
            yield f"pci[{index}].guest_node", f"machine {machine} is not known to have PCI Express", ONES
        elif entry.together and kind is None:
            yield f"pci[{index}].together", f"machine {machine} is not known to have PCI slots", ONES


def _threads(vm: Vm) -> Mistakes:
    most = (vm.cpu and vm.cpu.iothreads) or 0
    known = f"there are {most} iothreads" if most else "there are no iothreads"
    for number in (vm.cpu and vm.cpu.iothread_pin) or ():
        if number > most:
            yield f"cpu.iothread_pin.{number}", f"{known}, and this pins number {number}", f"write iothreads: {number}"
    for index, disk in enumerate(vm.disks):
        if disk.iothread and disk.iothread > most:
            yield (
                f"disks[{index}].iothread",
                f"{known}, and this is number {disk.iothread}",
                f"write cpu: {{iothreads: {disk.iothread}}}",
            )


def _cells(vm: Vm, *, more_memory: bool) -> Mistakes:
    assert vm.numa
    cells, memory = vm.numa.cells, vm.memory
    most = (vm.cpu and (vm.cpu.max or vm.cpu.count)) or 1
    all_vcpus = frozenset(range(most))
    covered = frozenset(vcpu for cell in cells for vcpu in cell.cpus or ())
    if covered - all_vcpus:
        beyond = max(covered)
        index = next(index for index, cell in enumerate(cells) if beyond in (cell.cpus or ()))
        yield (
            f"numa.cells[{index}].cpus",
            f"there is no vCPU {beyond}; the highest is {most - 1}",
            "vCPUs count from 0",
        )
    if all_vcpus - covered:
        yield "numa.cells", f"vCPU {show_cpus(all_vcpus - covered)} is in no cell", "name it in the cpus of a cell"
    whole = memory and (memory.max or memory.size)
    total = sum(cell.memory or 0 for cell in cells)
    if whole and total != whole and not more_memory:
        said = f"the cells have {show_size(total)} together, and the VM has {show_size(whole)}"
        yield "numa.cells", said, "make the memory of the cells add up"
    for index, cell in enumerate(cells):
        if memory and memory.hugepages and (cell.memory or 0) % memory.hugepages:
            yield (
                f"numa.cells[{index}].memory",
                "the memory of the cell is not a whole number of huge pages",
                "write a multiple of hugepages",
            )
