"""Pictures of hosts: golden files in `pictures/`, to be read when they change, and what is true of any picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from kvmctl.commands._picture import STYLES as LOOKS
from kvmctl.host.cells import Asked, topology_of
from kvmctl.plan.placement.conflicts import conflicts
from kvmctl.plan.placement.picture import picture
from kvmctl.plan.placement.text import STYLES, Line, length, plain
from kvmctl.plan.topology import Device, Tenant, Topology
from tests.host import capabilities
from tests.plan.placement.topologies import MIDDLE, SMALL, problem

PICTURES = Path(__file__).with_name("pictures")
GIB = 2**30
NOTHING = Asked()
View = tuple[Topology, Sequence[Tenant], Tenant | None]


def host(text: str, asked: Asked = NOTHING) -> Topology:
    return topology_of(ElementTree.fromstring(text), asked)


def cpus(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def vm(name: str, *where: int, **more: object) -> Tenant:
    """A VM whose vCPUs have one CPU each."""
    pins = {number: cpus(cpu) for number, cpu in enumerate(where)}
    return replace(Tenant(vm=name, count=len(where), vcpus=pins), **more)  # type: ignore[arg-type]


CARD = Device(address="0000:81:00.0", node=1, what="network", product="Gigabit Connection", interfaces=("eth0", "eth1"))
DEVICES = (
    CARD,
    *(
        Device(address=f"0000:81:10.{number}", node=1, what="network", product="Virtual Function", virtual=True)
        for number in range(7)
    ),
    Device(
        address="0000:c1:00.0", node=1, what="NVMe", product="A disk with a name that is by far too long for a line"
    ),
    Device(address="0000:00:1f.2", node=None, what="SATA", product="6 port SATA Controller"),
)


def small() -> View:
    """Everything at once, on two nodes of two cores."""
    asked = Asked(
        online=[True] * 8 + [False],
        isolated=cpus(3, 7),
        free={0: 9 * GIB, 1: 15 * GIB},
        free_pages={0: {2 * 2**20: 512}},
    )
    tenants = [
        vm("web1", 1, 5, emulator=cpus(0, 4), iothreads={1: cpus(0)}, exclusive=True),
        vm("web2", 3, 2, emulator=cpus(2)),
        vm("db1", 3, running=False),
        vm("a-name-that-is-too-long-for-its-place", 5),
        Tenant(vm="free", count=4),
        Tenant(vm="partly", count=3, vcpus={1: cpus(6)}),
        Tenant(vm="asleep", count=3, running=False),
        Tenant(vm="pool1", count=2, pooled=True, vcpus={0: cpus(0, 2), 1: cpus(0, 2)}),
    ]
    return replace(host(capabilities.server(), asked), devices=DEVICES), tenants, None


def plan() -> View:
    """The same host, with a plan instead of web1."""
    topology, tenants, _ = small()
    return topology, tenants[1:], vm("web1", 1, 5, emulator=cpus(0, 4))


def own_cores() -> View:
    topology = host(capabilities.server(cores=16), Asked(isolated=cpus(*range(24, 32), *range(56, 64))))
    tenants = [
        vm("own1", 2, 3, 4, exclusive=True, whole_cores=True, emulator=cpus(0, 1, 32, 33)),
        vm("own2", 25, exclusive=True, whole_cores=True, emulator=cpus(0, 1, 32, 33)),
        vm("own3", 16, 48, emulator=cpus(0, 1, 32, 33)),
        Tenant(vm="wide", count=2, vcpus=dict.fromkeys(range(2), cpus(15, 16, 47, 48))),
    ]
    return topology, tenants, None


def epyc() -> View:
    topology = host(capabilities.epyc(sockets=2, ccds=8, cores=4), Asked(free=dict.fromkeys(range(8), 40 * GIB)))
    tenants = [vm("one", 0, 64, 1, 65, emulator=cpus(2, 66)), vm("two", 8, 9, 10, 11), vm("three", 32)]
    return topology, tenants, None


def crowd() -> View:
    """Sixty VMs that all have the first node, as people do who pin without looking."""
    topology = host(capabilities.server(cores=24))
    first = frozenset(number for number, cpu in topology.cpus.items() if cpu.node == 0)
    tenants = [
        Tenant(vm=f"vm{number:03}", count=4, vcpus=dict.fromkeys(range(4), first), emulator=first)
        for number in range(60)
    ]
    return topology, [*tenants, vm("other", 30)], None


def interleaved() -> View:
    """A board that numbers its nodes in turns."""
    topology = host(capabilities.server(cores=24))
    turned = {n: replace(cpu, node=n % 2, socket=n % 2, cache=n % 2) for n, cpu in topology.cpus.items()}
    odd = cpus(0, 3, 6, 7, 10, 13, 24, 28, 34, 40, 58, 60, 64, 66, 70, 72, 80, 81)
    tenants = [Tenant(vm="big", count=20, vcpus=dict.fromkeys(range(20), cpus(*range(0, 96, 2))))]
    return replace(topology, cpus=turned), [*tenants, Tenant(vm="odd", count=2, vcpus={0: odd, 1: cpus(2)})], None


def large() -> View:
    """Two sockets of ninety-six cores, with a hundred VMs."""
    topology = host(capabilities.epyc(sockets=2, ccds=12, cores=8), Asked(free=dict.fromkeys(range(8), 40 * GIB)))
    random, cores, tenants = Random(3), [*topology.cores.values()], []
    for number in range(100):
        count = random.choice((0, 1, 1, 2, 2, 4))
        taken, cores = cores[:count], cores[count + random.choice((0, 0, 0, 0, 1, 3)) :]
        where = [cpu for core in taken for cpu in core]
        helpers = cpus(0, 192) if where else None
        tenants.append(vm(f"vm{number:02}", *where, emulator=helpers, running=number % 13 != 7))
    return topology, tenants, None


def hybrid() -> View:
    return host(capabilities.hybrid()), [vm("a", 0, 1, 8, 5)], None


def lopsided() -> View:
    online = [True] * 3 + [False] + [True] * 10
    tenants = [vm("lost", 3, 44), vm("half", 0, 3)]
    return host(capabilities.lopsided(), Asked(online=online, free={5: 4 * GIB})), tenants, None


def eight_threads() -> View:
    """A core as POWER has it, too wide for a line."""
    topology = host(capabilities.desktop())
    one = {number: replace(cpu, core=0) for number, cpu in topology.cpus.items()}
    return replace(topology, cpus=one), [vm("some-name", *range(7), 6)], None


VIEWS: dict[str, tuple[Callable[[], View], int]] = {
    "small-80": (small, 80),
    "small-120": (small, 120),
    "plan-80": (plan, 80),
    "own-cores-80": (own_cores, 80),
    "epyc-120": (epyc, 120),
    "crowd-80": (crowd, 80),
    "interleaved-80": (interleaved, 80),
    "large-120": (large, 120),
    "hybrid-80": (hybrid, 80),
    "lopsided-80": (lopsided, 80),
    "eight-threads-80": (eight_threads, 80),
}


def draw(view: View, width: int) -> list[Line]:
    topology, tenants, planned = view
    return picture(topology, tenants, name="host1", width=width, planned=planned)


@pytest.mark.parametrize("name", VIEWS)
def test_a_picture_is_as_it_was(name: str, regenerate: bool) -> None:
    make, width = VIEWS[name]
    drawn = "".join(plain(line) + "\n" for line in draw(make(), width))
    file = PICTURES / f"{name}.txt"
    if regenerate:
        file.write_text(drawn)
    assert drawn == file.read_text()


def test_there_is_no_other_picture() -> None:
    assert {path.stem for path in PICTURES.iterdir()} == VIEWS.keys()


@pytest.mark.parametrize("seed", range(120))
def test_any_picture(seed: int) -> None:
    """Fits, shows every CPU and every VM that can run, marks conflicts, and has styles that are known."""
    found, width = problem(seed, MIDDLE if seed % 2 else SMALL), (60, 80, 120)[seed % 3]
    lines = picture(found.topology, found.tenants, name="host1", width=width)
    text = "\n".join(map(plain, lines))
    assert max(map(length, lines)) <= width
    assert not re.search(r" $", text, re.MULTILINE)
    assert {span.style for line in lines for span in line} <= {"", *STYLES}
    for tenant in found.tenants:
        if tenant.running and all(pin & found.topology.online for pin in tenant.vcpus.values()):
            assert re.search(rf"\b{re.escape(tenant.vm)}\b", text), tenant
    shown = {int(number) for number in re.findall(r"(?<![\w:.])\d+(?=\*?  ?\S|\*? [-~])", text)}
    if len(found.topology.cores) <= 16:
        assert found.topology.online <= shown
    assert any(conflict.now for conflict in conflicts(found.topology, found.tenants)) == (
        "! conflict" in text or bool(re.search(r"^! ", text, re.MULTILINE))
    )


def test_every_style_has_a_look() -> None:
    assert set(STYLES) == LOOKS.keys()


def test_a_plan_draws_only_the_nodes_it_goes_to() -> None:
    topology, tenants, planned = plan()
    lines = picture(topology, tenants, planned=planned)
    styles = {span.text: span.style for line in lines for span in line}
    assert styles["+web1:0"] == styles["+web1:emu"] == "planned"
    assert "web2:0" not in styles
    assert "web2:0" in {span.text for line in picture(topology, tenants) for span in line}


def test_a_plan_takes_the_place_of_the_vm_that_is_there() -> None:
    topology, tenants, planned = plan()
    before = vm("web1", 2, 6)
    assert picture(topology, [*tenants, before], planned=planned) == picture(topology, tenants, planned=planned)
