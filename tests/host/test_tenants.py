"""Where VMs are pinned, read from their XML."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from kvmctl.errors import KvmctlError
from kvmctl.host.connection import connect
from kvmctl.host.targets import Target
from kvmctl.host.tenants import tenant_of, tenants
from kvmctl.plan.topology import Tenant
from kvmctl.spec.metadata import NAMESPACE
from tests.commands.conftest import HOST, Vms
from tests.host.test_topology import host, refusal

MIB = 2**20
GIB = 2**30


def read(inside: str, *, running: bool = True, **attributes: Any) -> Tenant:
    text = f"<domain><name>web1</name><uuid>u1</uuid><memory unit='MiB'>2048</memory>{inside}</domain>"
    return tenant_of(ElementTree.fromstring(text), running=running, **attributes)


def placement(attributes: str) -> Tenant:
    return read(
        f"<metadata><k:vm xmlns:k='{NAMESPACE}'><k:spec>x</k:spec><k:placement {attributes}/></k:vm></metadata>"
        "<vcpu cpuset='3'>1</vcpu>"
    )


def cpus(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def test_a_vm_that_floats() -> None:
    found = read("<vcpu placement='static'>4</vcpu>", running=False)
    assert found == Tenant(vm="web1", uuid="u1", running=False, count=4, memory=2 * GIB)
    assert found.pinned == frozenset()


def test_everything_pinned_by_itself() -> None:
    found = read(
        "<vcpu>2</vcpu><iothreads>2</iothreads><cputune>"
        "<vcpupin vcpu='1' cpuset='5'/><vcpupin vcpu='0' cpuset='2-3,^3'/>"
        "<emulatorpin cpuset='0-1'/><iothreadpin iothread='2' cpuset='7'/></cputune>"
    )
    assert found.vcpus == {0: cpus(2), 1: cpus(5)}
    assert found.emulator == cpus(0, 1)
    assert found.iothreads == {2: cpus(7)}
    assert (found.count, found.iothread_count, found.pinned) == (2, 2, cpus(2, 5))


def test_what_has_no_pin_goes_where_all_go() -> None:
    found = read(
        "<vcpu cpuset='4-5'>3</vcpu><iothreads>2</iothreads><cputune>"
        "<vcpupin vcpu='2' cpuset='0'/><iothreadpin iothread='1' cpuset='7'/></cputune>"
    )
    assert found.vcpus == {0: cpus(4, 5), 1: cpus(4, 5), 2: cpus(0)}
    assert found.emulator == cpus(4, 5)
    assert found.iothreads == {1: cpus(7), 2: cpus(4, 5)}


def test_vcpus_that_are_not_there_yet() -> None:
    """One that has a CPU of its own has it already; the common set is for those that run."""
    found = read("<vcpu current='2' cpuset='4-5'>4</vcpu><cputune><vcpupin vcpu='3' cpuset='1'/></cputune>")
    assert (found.count, found.vcpus) == (2, {0: cpus(4, 5), 1: cpus(4, 5), 3: cpus(1)})


def test_what_is_left_to_numad_is_nowhere() -> None:
    found = read("<vcpu placement='auto' cpuset='1'>2</vcpu><numatune><memory placement='auto'/></numatune>")
    assert (found.vcpus, found.emulator, found.memory_nodes) == ({}, None, frozenset())


def test_iothreads_by_number() -> None:
    text = "<vcpu cpuset='1'>1</vcpu><iothreads>3</iothreads><iothreadids><iothread id='2'/></iothreadids>"
    found = read(text)
    assert [*found.iothreads] == [1, 2, 3]
    found = read(text.replace("<iothreads>3</iothreads>", "").replace("id='2'", "id='9'"))
    assert ([*found.iothreads], found.iothread_count) == ([9], 1)


def test_pins_that_cannot_be_read_are_none() -> None:
    found = read("<vcpu cpuset=''>1</vcpu><cputune><vcpupin vcpu='0' cpuset='x'/><emulatorpin/></cputune>")
    assert (found.vcpus, found.emulator) == ({}, None)


def test_what_kvmctl_keeps() -> None:
    found = placement("policy='compact' exclusive='yes' threads='own_core' pin='auto'")
    assert (found.exclusive, found.whole_cores, found.automatic, found.pooled) == (True, True, True, False)
    assert placement("pin='auto' by_hand='emulator iothread2'").by_hand == {"emulator", "iothread2"}
    found = placement("exclusive='yes' threads='share'")
    assert (found.exclusive, found.whole_cores, found.automatic) == (True, False, False)
    assert not placement("threads='own_core'").whole_cores
    found = placement("pooled='yes'")
    assert (found.pooled, found.vcpus, found.pinned) == (True, {0: cpus(3)}, frozenset())


@pytest.mark.parametrize(
    ("pages", "size"),
    [
        ("<hugepages/>", 32 * MIB),
        ("<hugepages><page size='1' unit='GiB'/></hugepages>", GIB),
        ("<hugepages><page size='2048'/></hugepages>", 2 * MIB),
        ("<hugepages><page size='1' unit='G' nodeset='1'/><page size='2' unit='M'/></hugepages>", 2 * MIB),
        ("<locked/>", None),
    ],
)
def test_huge_pages(pages: str, size: int | None) -> None:
    found = read(f"<memoryBacking>{pages}</memoryBacking>", default_page=32 * MIB)
    assert found.page_size == size
    assert (found.count, found.memory) == (1, 2 * GIB)


CELLS = "<cpu><numa><cell id='0' memory='1'/><cell id='1' memory='1'/></numa></cpu>"


@pytest.mark.parametrize(
    ("tune", "nodes"),
    [
        ("<memory mode='strict' nodeset='0-1,3'/>", cpus(0, 1, 3)),
        ("<memory nodeset='0'/><memnode cellid='0' nodeset='2'/>", cpus(0, 2)),
        ("<memory nodeset='0'/><memnode cellid='0' nodeset='2'/><memnode cellid='1' nodeset='3'/>", cpus(2, 3)),
        ("<memory mode='strict' placement='auto'/>", frozenset()),
    ],
)
def test_nodes_of_memory(tune: str, nodes: frozenset[int]) -> None:
    assert read(f"{CELLS}<numatune>{tune}</numatune>").memory_nodes == nodes


# -- of a host ------------------------------------------------------------------------------------------


class Domain:
    """A domain as a list of them has it."""

    def __init__(self, name: str, number: int, problem: Exception | None = None) -> None:
        self.text = f"<domain><name>{name}</name><memoryBacking><hugepages/></memoryBacking></domain>"
        self.number = number
        self.problem = problem

    def ID(self) -> int:  # noqa: N802 - libvirt\'s name
        return self.number

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - libvirt\'s name
        assert flags == 0  # the live configuration of one that runs
        if self.problem:
            raise self.problem
        return self.text


class Connection:
    def __init__(self, *domains: Domain) -> None:
        self.domains = domains

    def listAllDomains(self, flags: int) -> list[Domain]:  # noqa: N802 - libvirt\'s name
        return [*self.domains]


def test_a_vm_that_vanishes_is_left_out() -> None:
    gone = refusal(libvirt.VIR_ERR_NO_DOMAIN)
    conn = Connection(Domain("web2", 4), Domain("old", 5, gone), Domain("db1", -1))
    found = tenants(host(conn))
    assert [(tenant.vm, tenant.running, tenant.page_size) for tenant in found] == [
        ("db1", False, 2 * MIB),
        ("web2", True, 2 * MIB),
    ]


def test_another_error_is_told() -> None:
    broken = refusal(libvirt.VIR_ERR_INTERNAL_ERROR, "broken", libvirt.VIR_FROM_QEMU)
    with pytest.raises(KvmctlError) as caught:
        tenants(host(Connection(Domain("web1", 1), Domain("web2", 2, broken))))
    assert caught.value.code == "libvirt-failed"


def test_the_vms_of_the_test_driver() -> None:
    vms = Vms()
    try:
        vms.define("web1", running=True, more="<vcpu cpuset='2-3'>2</vcpu>")
        vms.define("db1", more="<cputune><emulatorpin cpuset='0'/></cputune>")
        with connect(Target("test", HOST), readonly=True) as found:
            seen = {tenant.vm: tenant for tenant in tenants(found)}
    finally:
        vms.close()
    assert [*seen] == ["db1", "test", "web1"]
    assert (seen["web1"].running, seen["web1"].vcpus) == (True, {0: cpus(2, 3), 1: cpus(2, 3)})
    assert (seen["db1"].running, seen["db1"].emulator, seen["db1"].memory) == (False, cpus(0), MIB)
