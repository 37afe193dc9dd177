"""Devices of a VM that is being made, where its guest sees them, and another that was given them at the same time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvmctl.errors import Conflict
from kvmctl.host import settling
from kvmctl.host.pci import assigning
from kvmctl.host.pci.holders import Held
from kvmctl.plan.facts import HostFacts
from kvmctl.plan.pci.choose import Chosen
from kvmctl.plan.pci.facts import Holder
from kvmctl.spec.model.numa import Cell, Numa
from kvmctl.spec.model.pci import Pci
from kvmctl.spec.model.vm import Vm

ADDRESS, UUID = "0000:3b:00.0", "c2177883-f1bb-47f0-914d-32a22e3a8804"


def test_a_device_that_another_was_given_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Holder(vm="db1", uuid="db1's", running=True)
    monkeypatch.setattr(assigning, "held", lambda host: Held(devices={ADDRESS: [holder]}, mdevs={UUID: [holder]}))
    host: Any = None
    assigning.check_unshared(host, "db1's", [ADDRESS])
    assigning.check_unshared(host, "web1's", ["0000:3b:00.1"])
    for name in (ADDRESS, UUID):
        with pytest.raises(Conflict, match=rf"db1 was given {name}") as caught:
            assigning.check_unshared(host, "web1's", [name])
        assert caught.value.code == "devices-taken"


def test_a_node_of_the_guest_is_decided_when_its_place_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    anything: Any = None
    vm = Vm(name="web1", pci=(Pci(address=ADDRESS, guest_node="auto"), Pci(mdev=UUID)))
    cells = Numa(cells=(Cell(nodes=frozenset({1})), Cell(nodes=frozenset({0}))))
    placed = [cells, None]
    monkeypatch.setattr(settling, "settle", lambda host, vm, **how: Chosen(vm=vm, homes={ADDRESS: 0}))
    monkeypatch.setattr(
        settling, "_decide", lambda host, vm, work, facts: settling.Decided(vm=replace(vm, numa=placed.pop(0)))
    )
    found = settling.decide(anything, vm, anything, HostFacts())
    assert ([entry.guest_node for entry in found.vm.pci], found.sentences) == ([1, None], ())
    nowhere = settling.decide(anything, vm, anything, HostFacts())
    assert (nowhere.vm.pci[0].guest_node, len(nowhere.sentences)) == (None, 1)
