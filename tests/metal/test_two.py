"""Migration between two hosts under real KVM: planned anew for the target, both ways, and with a target that dies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from tests.lab.waiting import until, until_said
from tests.metal.conftest import GUEST_SECONDS, Spec, restore
from tests.metal.guest import CARDS, COMMAND_LINE, READY
from tests.metal.machine import Machine
from tests.metal.seen import look
from tests.metal.test_pci import FUNCTION, driver

FIRST, SECOND = "qemu+tcp://metal/system", "qemu+tcp://metal2/system"
COUNT = re.compile(r"count (\d+)\r?\n")
SPEC = """
cpu: {count: 2, pin: auto, placement: {policy: compact, threads: siblings}}
memory: {size: 192MiB, hugepages: 2MiB}
numa: {mode: strict}
"""
MAC = "52:54:00:00:00:22"
ON_ALL_BUSES = COMMAND_LINE.replace("pci=lastbus=0", "work=count")
WITH_CARD = f"""
boot: {{kernel: /srv/guest/kernel, initrd: /srv/guest/initrd, cmdline: "{ON_ALL_BUSES}"}}
networks: [{{hostdev: "vf_of:enp1s0", mac: "{MAC}"}}]
"""
TEAM = f"""
boot: {{kernel: /srv/guest/kernel, initrd: /srv/guest/initrd, cmdline: "{ON_ALL_BUSES.replace("count", "team")}"}}
networks:
- {{bridge: br0, team: pair, mac: "{MAC}"}}
- {{hostdev: "vf_of:enp1s0", team: pair, mac: "{MAC}"}}
"""
PAGES = "host hugepages --size 2MiB --node 1 --count 128"


@pytest.fixture(scope="module")
def switched_on(machine: Machine) -> Iterator[Machine]:
    second = Machine(machine).boot()
    yield second
    second.close()


@pytest.fixture
def second(switched_on: Machine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """The machine at the other end of the cable."""
    yield switched_on
    restore(switched_on, request)


def where(vm: str, *machines: Machine) -> list[str]:
    """The machines on which it runs."""
    found = []
    for machine in machines:
        connection = libvirt.open(machine.outside_uri)
        running = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)
        found += [connection.getHostname() for domain in running if domain.name() == vm]
        connection.close()
    return found


def counted(*machines: Machine) -> list[int]:
    """What the guest has said, in the order in which it was on these machines."""
    told = "".join((machine.shared / "web1.log").read_text() for machine in machines)
    return [int(number) for number in COUNT.findall(told)]


def goes_on(machine: Machine) -> None:
    before = len(counted(machine))
    until(lambda: len(counted(machine)) > before + 3, "the guest counts on", seconds=GUEST_SECONDS)


def moved(machine: Machine, command: str, **more: Any) -> dict[str, Any]:
    """The last line of what a migration says."""
    lines = machine.kvmctl(f"{command} -o json", **more).stdout.splitlines()
    return json.loads(lines[-1])  # type: ignore[no-any-return]


def test_there_and_back(metal: Machine, second: Machine, metal_spec: Spec) -> None:
    metal.kvmctl(PAGES)
    metal.kvmctl(f"create {metal_spec('web1', SPEC, work='count')} --start")
    until_said(metal.shared / "web1.log", READY, seconds=GUEST_SECONDS)
    goes_on(metal)
    # The other has no huge pages yet: said before anything is moved.
    found = metal.kvmctl(f"migrate web1 {SECOND} --check -o json", exit=5).json["findings"]
    blockers = {finding["code"] for finding in found if finding["verdict"] == "blocker"}
    assert blockers == {"hugepages-missing", "nothing-fits"}
    second.kvmctl(PAGES)
    there = moved(metal, f"migrate web1 {SECOND}")
    assert (there["state"], where("web1", metal, second)) == ("running", ["metal2"])
    goes_on(second)
    # There it is pinned to a core of the node that has the pages.
    assert frozenset().union(*look(second, "web1").vcpus) in (frozenset({4, 5}), frozenset({6, 7}))
    # So little pause is allowed that one pass is never enough.
    back = moved(second, f"migrate web1 {FIRST} --postcopy --bandwidth 16MiB --max-downtime 1ms")
    assert (back["state"], where("web1", metal, second)) == ("running", ["metal"])
    assert any("post-copy" in decision for decision in back["decisions"])


def test_a_virtual_function_goes_along(metal: Machine, second: Machine, metal_spec: Spec) -> None:
    """The guest lets go of it, and gets the like of it there; where there is none it stays, and keeps it."""
    metal.kvmctl("pci vfs enp1s0 1")
    metal.kvmctl(f"create {metal_spec('web1', WITH_CARD)} --start")
    until_said(metal.shared / "web1.log", READY, seconds=GUEST_SECONDS)
    refused = moved(metal, f"migrate web1 {SECOND}", exit=5)["error"]
    assert [reason["code"] for reason in refused["reasons"]] == ["host-device"]
    second.kvmctl("pci vfs enp1s0 2")
    there = moved(metal, f"migrate web1 {SECOND}")
    assert (there["state"], where("web1", metal, second)) == ("running", ["metal2"])
    assert f"plugged in {FUNCTION} of {SECOND}" in str(there["notes"])
    assert (driver(metal, FUNCTION), driver(second, FUNCTION)) == ("igbvf", "vfio-pci")
    assert f"link/ether {MAC}" in second.run("ip link show enp1s0").stdout
    goes_on(second)


def test_a_team(metal: Machine, second: Machine, metal_spec: Spec) -> None:
    """The function goes and comes, its twin stays: the guest has a network card all the time."""
    for machine in (metal, second):
        machine.run("ip link add br0 up type bridge")
        machine.kvmctl("pci vfs enp1s0 1")
    metal.kvmctl(f"create {metal_spec('web1', TEAM)} --start")
    until_said(metal.shared / "web1.log", f"{CARDS} 4", seconds=GUEST_SECONDS)
    found = metal.kvmctl(f"migrate web1 {SECOND} --check -o json").json["findings"]
    assert "failover-device" in {finding["code"] for finding in found}
    there = moved(metal, f"migrate web1 {SECOND}")
    assert (there["state"], where("web1", metal, second)) == ("running", ["metal2"])
    until_said(second.shared / "web1.log", f"{CARDS} 4", seconds=GUEST_SECONDS)
    assert (driver(metal, FUNCTION), driver(second, FUNCTION)) == ("igbvf", "vfio-pci")
    told = "".join((machine.shared / "web1.log").read_text() for machine in (metal, second))
    assert re.findall(rf"{CARDS} (\d)", told)[-3:] == ["4", "3", "4"]
    goes_on(second)


def test_a_target_that_dies(metal: Machine, second: Machine, metal_spec: Spec) -> None:
    metal.kvmctl(f"create {metal_spec('web1', 'memory: 256MiB', work='count')} --start")
    until_said(metal.shared / "web1.log", READY, seconds=GUEST_SECONDS)
    move = metal.start_kvmctl(f"migrate web1 {SECOND} --bandwidth 1MiB -o json")
    assert move.stdout is not None
    assert any(b'"precopy"' in line for line in move.stdout)
    second.run(["sh", "-c", "kill -9 $(cat /run/libvirt/qemu/web1.pid)"])
    move.communicate(timeout=GUEST_SECONDS)
    assert move.returncode in (1, 7)
    assert where("web1", metal, second) == ["metal"]
    goes_on(metal)
    numbers = counted(metal)
    assert numbers == list(range(1, len(numbers) + 1))
