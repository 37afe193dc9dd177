"""Which node of the guest `guest_node: auto` is: that whose memory is where the device is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.spec.model.tuning import AUTO

if TYPE_CHECKING:
    from kvmctl.spec.model.pci import Pci
    from kvmctl.spec.model.vm import Vm


def settled(vm: Vm, homes: Mapping[str, int]) -> tuple[Vm, tuple[str, ...]]:
    """The VM, placed by now, with a number or nothing for each `auto`; and why nothing. `homes`: the devices' nodes."""
    sentences = []

    def decided(entry: Pci) -> Pci:
        if entry.guest_node != AUTO:
            return entry
        home = homes.get(entry.address or "")
        node = _cell(vm, home)
        if node is None:
            why = "its node is not known" if home is None else f"no node of the guest has its memory on node {home}"
            sentences.append(f"{vm.name}: {entry.address} is near to no node of the guest: {why}")
        return replace(entry, guest_node=node)

    return replace(vm, pci=tuple(map(decided, vm.pci))), tuple(sentences)


def left_out(vm: Vm, notes: list[str]) -> Vm:
    """The VM as it can be told without a host: without nodes of the guest that a host decides about."""
    unseen = not (vm.numa and vm.numa.cells) and vm.cpu is not None and vm.cpu.topology == AUTO
    if any(entry.guest_node == AUTO or (unseen and entry.guest_node is not None) for entry in vm.pci):
        notes.append(f"{vm.name}: left out here, since it is decided on a host, by 'kvmctl create': guest_node")
    return replace(
        vm,
        pci=tuple(replace(entry, guest_node=None) if unseen or entry.guest_node == AUTO else entry for entry in vm.pci),
    )


def _cell(vm: Vm, home: int | None) -> int | None:
    """The cell with memory on a node, of several the one with the least elsewhere, then the lowest."""
    numa = vm.numa
    if numa is None or home is None:
        return None
    nodes = {number: cell.nodes or numa.nodes or frozenset() for number, cell in enumerate(numa.cells)}
    return min(
        (number for number in nodes if home in nodes[number]), key=lambda number: len(nodes[number]), default=None
    )
