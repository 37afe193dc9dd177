"""Fixtures of the metal machine: `metal`, `metal_spec` to make specs of guests in it, `outside` to have kvmctl do it.

The machine is booted once, when the first test asks; after each test it is as it was. One that stops answering is
switched off and on again, and the test that failed with it is run again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.conftest import OwnProcess
from tests.metal.machine import Machine, missing
from tests.metal.specs import write
from tests.results import Result

TEST_SECONDS = 600.0
CALL_SECONDS = 240.0
GUEST_SECONDS = 180.0
"""For a guest to come as far as it is waited for; on a computer that has nothing else to do, 20 are enough."""

TRIES = 3
"""As often is a test run, in all, whose machine stops answering."""
LOST = pytest.StashKey[bool]()

Spec = Callable[..., str]
Kvmctl = Callable[..., Result]
Running = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("metal")
            # Emulation is slow, and the first test waits for the image and the boot: these have limits of their own.
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not item.get_closest_marker("metal"):
        return None  # asked of every test
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(TRIES)):
        item.stash[LOST] = False
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if not (left and item.stash[LOST] and any(report.failed for report in reports)):
            break
        item._initrequest()  # type: ignore[attr-defined]
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def restore(machine: Machine, request: pytest.FixtureRequest) -> None:
    """Make the machine as it was before the test."""
    try:
        machine.clean()
    except Exception:
        lost = machine.lost
        machine.restart()
        if not lost:
            raise
        print(f"{machine.name} had stopped answering and is switched on again", file=sys.stderr)
        request.node.stash[LOST] = True


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    absent = missing()
    if absent:
        pytest.skip(f"the metal tier {absent}")
    machine = Machine().boot()
    yield machine
    machine.close()


@pytest.fixture
def metal(machine: Machine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield machine
    restore(machine, request)


@pytest.fixture
def metal_spec(metal: Machine) -> Spec:
    """`metal_spec("web1", "cpu: {count: 2, pin: auto}", work="burn")`: the path, in the machine, of a spec.

    It boots the guest of `guest.py`; what that says on its console is in `metal.shared / "web1.log"`.
    """

    def spec(name: str = "web1", more: str = "", *, work: str = "") -> str:
        return write(metal.shared, name, more, work=work)

    return spec


@pytest.fixture
def outside(metal: Machine, run_process: OwnProcess) -> Kvmctl:
    """`outside("pin auto web1")`: kvmctl on another machine, which takes a fifth of the time that it takes in this one.

    What needs the host's own /proc, or its root, is for `metal.kvmctl`.
    """

    def call(command: str, **more: Any) -> Result:
        return run_process(f"-H {metal.outside_uri} {command}", **{"timeout": CALL_SECONDS, **more})

    return call


@pytest.fixture
def running(metal: Machine, metal_spec: Spec, outside: Kvmctl) -> Running:
    """`running("web1", "cpu: 2", work="touch")`: a VM of this spec, made and started."""

    def create(name: str = "web1", more: str = "", *, work: str = "") -> None:
        metal_spec(name, more, work=work)
        outside(f"create {metal.shared}/{name}.yaml --start")

    return create


@pytest.fixture
def paused(metal: Machine, metal_spec: Spec, outside: Kvmctl) -> Running:
    """`paused(web1="cpu: 2")`: VMs of these specs, made and started, whose guests do not run.

    They have all that a host gives a VM, and cost the emulated host no time.
    """

    def create(**specs: str) -> None:
        for name, more in specs.items():
            metal_spec(name, more)
        outside(f"create {' '.join(f'{metal.shared}/{name}.yaml' for name in specs)}")
        outside(f"start --paused {' '.join(specs)}")

    return create
