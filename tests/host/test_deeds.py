"""Deeds on a VM whose daemon speaks another language: what it says cannot be understood, the VM can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt
import pytest

from kvmctl.errors import KvmctlError, Refused
from kvmctl.host import deeds
from kvmctl.host.connection import Host
from kvmctl.host.targets import Target

RUNNING, OFF = (libvirt.VIR_DOMAIN_RUNNING, 1), (libvirt.VIR_DOMAIN_SHUTOFF, 1)


class Foreign:
    """A VM in a state, of a host that refuses everything in German."""

    def __init__(self, state: tuple[int, int], code: int = libvirt.VIR_ERR_OPERATION_INVALID) -> None:
        self.now = state
        self.code = code

    def name(self) -> str:
        return "web1"

    def state(self) -> tuple[int, int]:
        return self.now

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return self.now == RUNNING

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        return "<domain/>"

    def _refuse(self, *arguments: object) -> None:
        problem = libvirt.libvirtError("refused")
        problem.err = (self.code, libvirt.VIR_FROM_QEMU, "Ungültig: so geht das nicht", 2, None, None, None, 0, 0)
        raise problem

    createWithFlags = shutdown = destroy = reset = _refuse  # noqa: N815


def start(domain: Foreign) -> str:
    return deeds.start(Host(Target("host2", "qemu+ssh://root@host2/system"), None, events=False), domain)


def test_starting_one_that_runs() -> None:
    assert start(Foreign(RUNNING)) == "running"


@pytest.mark.parametrize("deed", [deeds.ask_to_stop, deeds.pull_plug])
def test_stopping_one_that_does_not_run(deed: Callable[[Any], bool]) -> None:
    assert deed(Foreign(OFF)) is False


def test_resetting_one_that_does_not_run() -> None:
    with pytest.raises(Refused) as caught:
        deeds.reset(Foreign(OFF))
    assert caught.value.code == "vm-not-running"


@pytest.mark.parametrize(
    ("deed", "state"),
    [(start, OFF), (deeds.ask_to_stop, RUNNING), (deeds.pull_plug, RUNNING), (deeds.reset, RUNNING)],
)
def test_other_refusals_are_told(deed: Callable[[Any], object], state: tuple[int, int]) -> None:
    with pytest.raises(KvmctlError, match="so geht das nicht"):
        deed(Foreign(state))


def test_an_error_of_another_kind_says_nothing_of_the_state() -> None:
    with pytest.raises(KvmctlError, match="so geht das nicht"):
        start(Foreign(RUNNING, libvirt.VIR_ERR_NO_SUPPORT))
