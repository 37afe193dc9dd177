"""How many libvirt calls a command makes over the wire, counted from libvirt's own log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.vms import define
from tests.lab.hosts import Host

LIST_FORMS = ("", "-o wide", "-o json", "-o yaml", "-o name", "--running", "--stopped", "--running -o wide")

Count = Callable[[str], list[int]]


@pytest.fixture
def many(host1: Host) -> Host:
    define(host1.outside_uri, 300)
    return host1


@pytest.mark.parametrize("form", LIST_FORMS)
def test_list_does_not_ask_for_each_vm(many: Host, rpc_calls: Count, form: str) -> None:
    assert 3 <= len(rpc_calls(f"list {form}")) <= 6


def test_show(host1: Host, rpc_calls: Count, guest_spec: Callable[..., Path]) -> None:
    host1.kvmctl(f"create {guest_spec('web1', 'disks: [{size: 64MiB}]')} --start")
    for form in ("", "-o wide", "-o json"):
        assert 3 <= len(rpc_calls(f"show web1 {form}")) <= 10


def test_start_and_forced_stop(host1: Host, rpc_calls: Count, guest_spec: Callable[..., Path]) -> None:
    host1.kvmctl(f"create {guest_spec('web1')}")
    assert 3 <= len(rpc_calls("start web1")) <= 9
    assert 3 <= len(rpc_calls("stop web1 --force --timeout 1")) <= 9
