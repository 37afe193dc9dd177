"""Devices of a VM that is being made, and another that was given them at the same time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kvmctl.errors import Conflict
from kvmctl.host.pci import assigning

ADDRESS = "0000:3b:00.0"


def test_a_device_that_another_was_given_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = SimpleNamespace(vm="db1", uuid="db1's")
    monkeypatch.setattr(assigning, "held", lambda host: SimpleNamespace(devices={ADDRESS: (holder,)}))
    host: Any = None
    assigning.check_unshared(host, "db1's", [ADDRESS])
    assigning.check_unshared(host, "web1's", ["0000:3b:00.1"])
    with pytest.raises(Conflict, match=rf"db1 was given {ADDRESS}") as caught:
        assigning.check_unshared(host, "web1's", [ADDRESS])
    assert caught.value.code == "devices-taken"
