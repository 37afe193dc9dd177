"""What kvmctl chose of a VM's place is open again when it is asked to choose anew; what people chose is not."""

from __future__ import annotations

from kvmctl.plan.tuning import chosen, open_again
from kvmctl.spec.model.numa import Numa
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.tuning import Wishes
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import read_nodes
from kvmctl.spec.structure import build

GIVEN = "iothreads: 2, emulator_pin: 6, iothread_pin: {2: 7}"


def vm(text: str) -> Vm:
    return build(read_nodes(f"name: web1\nmemory: 1GiB\n{text}\n".encode(), "web1.yaml"))


def cpus(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def test_what_the_spec_says_itself_is_noted() -> None:
    wishes = chosen(vm(f"cpu: {{pin: auto, placement: spread, {GIVEN}}}\nnuma: {{nodes: 1}}"))
    assert wishes == Wishes(policy="spread", automatic=True, by_hand=("emulator", "iothread2", "nodes"))
    assert chosen(vm("cpu: {pin: auto}")) == Wishes(automatic=True)


def test_it_stays_when_the_place_is_open_again() -> None:
    placed = "pin: {0: 4}, iothreads: 2, emulator_pin: 6, iothread_pin: {1: 5, 2: 7}"
    kept = "placement: {automatic: true, by_hand: [emulator, iothread2, nodes]}"
    again = open_again(vm(f"cpu: {{{placed}, {kept}}}\nnuma: {{nodes: 1}}"))
    assert again.cpu and (again.cpu.pin, again.cpu.emulator_pin) == ("auto", cpus(6))
    assert again.cpu.iothread_pin == {2: cpus(7)}
    assert again.numa == Numa(nodes=cpus(1))


def test_what_kvmctl_chose_goes() -> None:
    chose = f"cpu: {{pin: {{0: 4}}, {GIVEN}, placement: {{automatic: true}}}}\nnuma: {{nodes: 1}}"
    again = open_again(vm(chose))
    assert again.cpu and (again.cpu.pin, again.cpu.emulator_pin, again.cpu.iothread_pin) == ("auto", None, None)
    assert again.numa is None
    cell = open_again(vm(chose.replace("nodes: 1", "cells: [{cpus: 0, memory: 1GiB, nodes: 1}]"))).numa
    assert cell and (cell.cells[0].nodes, cell.cells[0].cpus) == (None, cpus(0))


def test_a_vm_that_was_pinned_by_hand_is_placed_whole() -> None:
    again = open_again(vm(f"cpu: {{pin: {{0: 4}}, {GIVEN}}}\nnuma: {{nodes: 1}}"))
    assert again.cpu and (again.cpu.emulator_pin, again.cpu.iothread_pin) == (None, None)
    assert again.numa == Numa(nodes=cpus(1)), "its nodes are a wish"
    assert open_again(Vm(name="web1")).cpu == Cpu(pin="auto")
