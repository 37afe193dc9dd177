"""Devices of a VM that is being made, and another that was given them at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from kvmctl.errors import Conflict
from kvmctl.host.pci import assigning
from kvmctl.host.pci.holders import Held
from kvmctl.plan.pci.facts import Holder

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
