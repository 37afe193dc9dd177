"""Fixtures of real hosts: `host1` and `host2`, `guest` (a kernel and an initramfs), `guest_spec` to make specs of it.

The two libvirtds are started once, when the first test asks; after each test the hosts are as they were.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.calls import logging, sent
from tests.lab.guest import COMMAND_LINE, Guest, provide
from tests.lab.hosts import Host, Lab, missing
from tests.results import Command


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("lab")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    absent = missing()
    if absent:
        pytest.skip(f"the lab tier {absent}")
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture
def host1(lab: Lab) -> Iterator[Host]:
    yield lab.hosts[0]
    lab.hosts[0].clean()


@pytest.fixture
def host2(lab: Lab) -> Iterator[Host]:
    yield lab.hosts[1]
    lab.hosts[1].clean()


@pytest.fixture
def rpc_calls(host1: Host, tmp_path: Path) -> Callable[..., list[int]]:
    """`rpc_calls("list")`: the libvirt procedures that kvmctl calls on host1, by number."""

    def count(command: Command, *, exit: int | None = 0) -> list[int]:
        log = tmp_path / "rpc.log"
        log.unlink(missing_ok=True)
        host1.kvmctl(command, exit=exit, env=logging(log))
        return sent(log)

    return count


@pytest.fixture(scope="session")
def guest() -> Guest:
    return provide()


@pytest.fixture
def guest_spec(guest: Guest, tmp_path: Path) -> Callable[..., Path]:
    """`guest_spec("web1", "disks: [{size: 1GiB}]")`: the path of a spec that boots the guest under emulation.

    What the guest says on its console is also in the file `web1.log` beside the spec.
    """

    def write(name: str = "web1", more: str = "") -> Path:
        path = tmp_path / f"{name}.yaml"
        text = f"""\
            name: {name}
            accelerator: tcg
            cpu: 1
            memory: 128MiB
            boot: {{kernel: {guest.kernel}, initrd: {guest.initrd}, cmdline: "{COMMAND_LINE}"}}
            serial: {{log: {tmp_path / name}.log}}
            """
        path.write_text(textwrap.dedent(text) + textwrap.dedent(more).strip() + "\n")
        return path

    return write
