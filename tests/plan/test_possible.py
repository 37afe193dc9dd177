"""What a host cannot give, found before libvirt refuses: `plan/possible.py` over many small hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import dedent
from typing import Any

import pytest

from kvmctl.errors import Refused
from kvmctl.plan.objection import Objection
from kvmctl.plan.possible import check_possible, impossible, overcommitted
from kvmctl.plan.topology import NOWHERE, HostCpu, NumaNode, PagePool, Tenant, Topology
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import read_nodes
from kvmctl.spec.structure import build

MIB, GIB = 2**20, 2**30
SMALL, LARGE = 2 * MIB, GIB
NOBODY: tuple[Tenant, ...] = ()


def vm(text: str = "") -> Vm:
    given = dedent(text)
    memory = "" if "memory:" in given.partition("cells:")[0] else "memory: 1GiB\n"
    return build(read_nodes(f"name: web1\n{memory}{given}".encode(), "web1.yaml"))


def host(
    *,
    nodes: int = 2,
    cores: int = 2,
    threads: int = 2,
    memory: int = 4 * GIB,
    offline: Sequence[int] = (),
    pages: Mapping[int, Sequence[tuple[int, int]]] | None = None,
) -> Topology:
    """Nodes with so many cores of so many threads; `pages`: by size, total and free of each node."""
    cpus = {}
    for number in range(nodes * cores * threads):
        core = number // threads
        cpus[number] = HostCpu(
            number=number,
            node=core // cores,
            core=core * threads,
            cache=core // cores * cores * threads,
            online=number not in offline,
        )
    found = {
        number: NumaNode(
            number=number,
            memory=memory,
            free=memory,
            pages={size: PagePool(total=each[number][0], free=each[number][1]) for size, each in (pages or {}).items()},
        )
        for number in range(nodes)
    }
    return Topology(cpus=cpus, nodes=found)


HOST = host()
NONE = {SMALL: [(0, 0), (0, 0)]}


def other(name: str = "db1", *pins: int, **more: Any) -> Tenant:
    """A VM with a vCPU on each of these CPUs."""
    vcpus = {number: frozenset({cpu}) for number, cpu in enumerate(pins)}
    return Tenant(vm=name, uuid=name, count=len(pins) or 1, vcpus=vcpus, **more)


def found(
    text: str,
    topology: Topology = HOST,
    tenants: Sequence[Tenant] = NOBODY,
    *,
    privileged: bool = True,
    cgroups: bool | None = True,
) -> list[tuple[str, str, str]]:
    """Level, key and code of everything that is said."""
    said = impossible(vm(text), topology, tenants, privileged=privileged, cgroups=cgroups)
    assert all(objection.message for objection in said)
    return [(objection.level, objection.path, objection.code) for objection in said]


def only(text: str, topology: Topology = HOST, tenants: Sequence[Tenant] = NOBODY) -> Objection:
    [objection] = impossible(vm(text), topology, tenants, privileged=True, cgroups=True)
    return objection


def test_nothing_is_said_of_what_can_be() -> None:
    assert found("") == []
    assert found("cpu: {count: 8}") == []
    assert found("cpu: {count: 2, pin: {0: 0, 1: 1}, emulator_pin: 2, iothreads: 1, iothread_pin: {1: 3}}") == []
    assert found("cpu: {count: 2, pin: '0-3'}\nnuma: {nodes: '0'}") == []
    assert found("memory: {size: 4GiB, locked: true}\nnuma: {nodes: '1'}") == []


# -- CPUs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("cpu: {count: 2, pin: {0: 1, 1: 8}}", "cpu.pin.1"),
        ("cpu: {count: 2, pin: '6-8'}", "cpu.pin"),
        ("cpu: {emulator_pin: 9}", "cpu.emulator_pin"),
        ("cpu: {iothreads: 2, iothread_pin: {1: 1, 2: '7,90'}}", "cpu.iothread_pin.2"),
    ],
)
def test_pins_beyond_the_host(key: str, path: str) -> None:
    objection = only(key)
    assert (objection.level, objection.path, objection.code) == ("error", path, "no-such-cpu")
    assert "it has 0-7" in objection.message


def test_the_cpus_that_are_missing_are_named() -> None:
    assert only("cpu: {pin: '4-9'}").message == "the host has no CPUs 8-9; it has 0-7"
    assert only("cpu: {pin: 9}").message.startswith("the host has no CPU 9;")


def test_every_pin_that_is_wrong_is_told() -> None:
    said = found("cpu: {count: 2, pin: {0: 8, 1: 9}, emulator_pin: 10}")
    assert [path for _, path, _ in said] == ["cpu.pin.0", "cpu.pin.1", "cpu.emulator_pin"]


def test_offline_cpus() -> None:
    half = host(offline=[6, 7])
    wrong = only("cpu: {pin: '6-7'}", half)
    assert (wrong.level, wrong.code) == ("error", "cpu-offline")
    assert wrong.message == "CPUs 6-7 are offline"
    assert "/sys/devices/system/cpu/cpu6/online" in wrong.hint
    slow = only("cpu: {pin: '5-6'}", half)
    assert (slow.level, slow.code) == ("note", "cpu-offline"), "CPU 5 is left"
    assert only("cpu: {emulator_pin: 7}", half).level == "error"
    nowhere = Topology(cpus={**HOST.cpus, 8: replace(HOST.cpus[7], number=8, node=NOWHERE, online=False)}, nodes={})
    assert only("cpu: {pin: 8}", nowhere).code == "cpu-offline"


def test_cpus_of_another_vm_alone() -> None:
    taken = other("db1", 2, 3, exclusive=True)
    wrong = only("cpu: {count: 2, pin: {0: 1, 1: '2,4'}}", tenants=[taken])
    assert (wrong.level, wrong.path, wrong.code) == ("error", "cpu.pin.1", "cpus-exclusive")
    assert wrong.message == "CPU 2 belongs to db1 alone"
    assert only("cpu: {emulator_pin: '0-3'}", tenants=[taken]).message == "CPUs 2-3 belong to db1 alone"
    assert "db1 (stopped)" in only("cpu: {pin: 3}", tenants=[replace(taken, running=False)]).message


def test_whole_cores_of_another_vm() -> None:
    taken = other("db1", 2, exclusive=True, whole_cores=True)
    assert only("cpu: {pin: 3}", tenants=[taken]).code == "cpus-exclusive", "it is the other thread of the core"
    assert found("cpu: {pin: 4}", tenants=[taken]) == []


def test_a_pin_to_every_cpu_is_none() -> None:
    assert found("cpu: {count: 2, pin: '0-7'}", tenants=[other("db1", 2, exclusive=True), other("db2", 3)]) == []


def test_a_vm_that_is_there_already_is_no_other() -> None:
    assert found("cpu: {pin: 2}", tenants=[other("web1", 2, exclusive=True)]) == []


def test_stopped_vms_are_ignored_if_so_wished() -> None:
    stopped = other("db1", 2, exclusive=True, running=False)
    ignoring = "cpu: {pin: 2, placement: {stopped: ignore, automatic: true}}"
    assert found(ignoring, tenants=[stopped]) == []
    assert found(ignoring, tenants=[replace(stopped, running=True)]) != []


def test_cpus_wanted_alone_where_others_are() -> None:
    wish = "cpu: {count: 2, pin: {0: 0, 1: 1}, placement: {exclusive: true}}"
    wrong = only(wish, tenants=[other("db1", 1, 5)])
    assert (wrong.level, wrong.path, wrong.code) == ("error", "cpu.placement.exclusive", "cpus-exclusive")
    assert wrong.message == "db1 is pinned to CPU 1 too"
    helper = Tenant(vm="db1", emulator=frozenset({0}))
    assert only(wish, tenants=[helper]).code == "cpus-exclusive"
    assert found(wish, tenants=[replace(helper, automatic=True)]) == [], "kvmctl moves helpers that it has placed"
    assert found(wish, tenants=[Tenant(vm="db1", pooled=True, vcpus={0: frozenset({0})})]) == []
    assert found(wish, tenants=[other("db1", 2), Tenant(vm="floats")]) == []


def test_whole_cores_wanted_alone() -> None:
    wish = "cpu: {pin: 0, placement: {exclusive: true, threads: own_core, automatic: true}}"
    assert only(wish, tenants=[other("db1", 1)]).message == "db1 is pinned to CPU 1 too"
    assert found(wish, tenants=[other("db1", 2)]) == []


def test_two_that_both_want_to_be_alone_are_told_once() -> None:
    wish = "cpu: {pin: 0, placement: {exclusive: true}}"
    assert found(wish, tenants=[other("db1", 0, exclusive=True)]) == [("error", "cpu.pin", "cpus-exclusive")]


def test_overcommitted_cpus_are_told_and_allowed() -> None:
    shared = only("cpu: {count: 2, pin: {0: 0, 1: 1}}", tenants=[other("db1", 1), other("db2", 1, 5)])
    assert (shared.level, shared.path, shared.code) == ("note", "cpu.pin", "shared-cpus")
    assert shared.message == "db1 and db2 have vCPUs on CPU 1 too"
    crowded = only("cpu: {count: 3, pin: '0-1'}")
    assert (crowded.level, crowded.code) == ("note", "vcpus-crowded")
    assert crowded.message == "3 vCPUs share CPUs 0-1, and wait for one another"
    assert found("cpu: {count: 3, pin: '0-2'}") == []


def test_more_vcpus_than_cpus() -> None:
    assert found("cpu: {count: 9}") == [("note", "cpu.count", "more-vcpus-than-cpus")]
    assert found("cpu: {count: 2, max: 9}") == [("note", "cpu.max", "more-vcpus-than-cpus")]
    assert found("cpu: {count: 8}", host(offline=[7])) == [("note", "cpu.count", "more-vcpus-than-cpus")]


def test_pins_that_kvmctl_chooses_are_not_judged() -> None:
    assert found("cpu: {count: 2, pin: auto}", tenants=[other("db1", 0, exclusive=True)]) == []


def test_quota() -> None:
    assert found("cpu: {count: 2, quota: 150%}") == []
    assert found("cpu: {count: 2, quota: 800%}") == [], "resolve tells of it, which needs no host"
    assert found("cpu: {count: 8, quota: 790%}") == []
    without = only("cpu: {count: 8, quota: 800%}")
    assert (without.level, without.path, without.code) == ("note", "cpu.quota", "quota-without-effect")
    assert without.message == "800% limits nothing: the host has 8 CPUs"


def test_without_cgroups() -> None:
    assert found("cpu: {count: 2, quota: 50%, shares: 500}", cgroups=False) == [
        ("error", "cpu.quota", "no-cgroups"),
        ("note", "cpu.shares", "no-cgroups"),
    ]
    assert found("cpu: {count: 2, quota: 50%, shares: 500}", cgroups=None) == []
    restrictive = "numa: {mode: restrictive, nodes: '0'}"
    assert found(restrictive, cgroups=False) == [("note", "numa.mode", "no-cgroups")]
    assert found(restrictive) == []


def test_real_time_needs_a_right() -> None:
    key = "cpu: {count: 2, scheduler: [{policy: batch, vcpus: 0}, {policy: fifo, priority: 10, vcpus: 1}]}"
    assert found(key) == []
    assert found(key, privileged=False) == [("error", "cpu.scheduler[1]", "no-realtime-right")]
    assert found("cpu: {scheduler: {policy: rr, priority: 1}}", privileged=False)[0][2] == "no-realtime-right"
    assert found("cpu: {scheduler: idle}", privileged=False) == []


# -- memory -----------------------------------------------------------------------------------------


def test_nodes_that_are_not_there() -> None:
    assert only("numa: {nodes: '1-2'}").message == "the host has no NUMA node 2; it has 0-1"
    cells = """
        cpu: 2
        memory: 2GiB
        numa: {cells: [{cpus: 0, memory: 1GiB, nodes: 0}, {cpus: 1, memory: 1GiB, nodes: 7}]}
        """
    assert found(cells) == [("error", "numa.cells[1].nodes", "no-such-node")]


def test_huge_pages_of_a_size_that_is_not_offered() -> None:
    wrong = only("memory: {size: 1GiB, hugepages: 1GiB}", host(pages=NONE))
    assert (wrong.level, wrong.path, wrong.code) == ("error", "memory.hugepages", "hugepages-not-offered")
    assert wrong.message == "the host has no huge pages of 1GiB; it offers 2MiB"
    assert "it offers none" in only("memory: {size: 1GiB, hugepages: 2MiB}").message


def test_too_few_huge_pages() -> None:
    some = host(pages={SMALL: [(200, 200), (300, 300)]})
    wrong = only("memory: {size: 1026MiB, hugepages: 2MiB}", some)
    assert (wrong.level, wrong.path, wrong.code) == ("error", "memory.hugepages", "hugepages-missing")
    assert "where there are 1000MiB in huge pages of 2MiB" in wrong.message
    assert wrong.hint == "kvmctl host hugepages --size 2MiB --count 513"
    assert found("memory: {size: 1000MiB, hugepages: 2MiB}", some) == []
    assert "where there are 0MiB" in only("memory: {size: 1GiB, hugepages: 2MiB}", host(pages=NONE)).message


def test_too_few_huge_pages_on_the_nodes_asked_for() -> None:
    some = host(pages={SMALL: [(200, 200), (300, 250)]})
    text = "memory: {size: 512MiB, hugepages: 2MiB}\nnuma: {nodes: '%s'%s}"
    wrong = only(text % ("0", ""), some)
    assert (wrong.level, wrong.path, wrong.code) == ("error", "numa.nodes", "hugepages-missing")
    assert wrong.hint == "kvmctl host hugepages --size 2MiB --node 0 --count 256"
    short = only(text % ("1", ""), some)
    assert (short.level, short.code) == ("note", "memory-short")
    assert short.hint == "kvmctl host hugepages --size 2MiB --node 1 --count 306", "50 are in use"
    assert found(text % ("0-1", ""), some) == []
    assert found(text % ("0", ", mode: preferred"), some) == []
    waiting = Tenant(vm="db1", running=False, page_size=SMALL, memory=20 * MIB, memory_nodes=frozenset({1}))
    assert only(text % ("1", ""), some, [waiting]).hint.endswith("--count 316"), "a stopped VM wants 10"


def test_huge_pages_that_others_have() -> None:
    busy = host(pages={SMALL: [(300, 100), (300, 300)]})
    short = only("memory: {size: 1GiB, hugepages: 2MiB}", busy)
    assert (short.level, short.path, short.code) == ("note", "memory.hugepages", "memory-short")
    assert "leave 800MiB" in short.message


def test_memory_beyond_its_nodes() -> None:
    wrong = only("memory: 5GiB\nnuma: {nodes: '1'}")
    assert (wrong.level, wrong.path, wrong.code) == ("error", "numa.nodes", "memory-beyond-node")
    assert wrong.message == "5GiB are asked for on node 1, where there are 4GiB"
    assert "preferred" in wrong.hint
    for mode in ("preferred", "interleave"):
        assert found(f"memory: 5GiB\nnuma: {{nodes: '1', mode: {mode}}}") == []
    assert found("memory: 5GiB\nnuma: {nodes: '1', mode: restrictive}")[0][2] == "memory-beyond-node"
    assert found("memory: 5GiB\nnuma: {nodes: '0-1'}") == []
    assert found("memory: 5GiB") == []


def test_huge_pages_are_no_ordinary_memory() -> None:
    huge = host(pages={LARGE: [(3, 3), (0, 0)]})
    assert found("memory: 2GiB\nnuma: {nodes: '0'}", huge) == [("error", "numa.nodes", "memory-beyond-node")]
    assert found("memory: 2GiB\nnuma: {nodes: '1'}", huge) == []


def test_memory_that_was_promised_to_others() -> None:
    others = [Tenant(vm="db1", memory=3 * GIB, memory_nodes=frozenset({1})), Tenant(vm="db2", memory=GIB)]
    short = only("memory: 2GiB\nnuma: {nodes: '1'}", tenants=others)
    assert (short.level, short.path, short.code) == ("note", "numa.nodes", "memory-short")
    assert "where other VMs leave 512MiB" in short.message
    assert found("memory: 2GiB\nnuma: {nodes: '0'}", tenants=others) == []
    assert found("memory: 5GiB", tenants=others) == [("note", "memory.size", "memory-short")]


def test_more_memory_than_the_host() -> None:
    assert found("memory: 9GiB") == [("error", "memory.size", "memory-beyond-host")]
    assert found("memory: {size: 1GiB, max: 9GiB}") == [("error", "memory.max", "memory-beyond-host")]
    assert only("memory: 9GiB").message == "9GiB are asked for on the host, where there are 8GiB"


def test_memory_that_is_in_huge_pages_for_others() -> None:
    huge = host(pages={LARGE: [(3, 3), (0, 0)]})
    swaps = only("memory: 6GiB", huge)
    assert (swaps.level, swaps.code) == ("note", "memory-beyond-host")
    assert swaps.message.endswith("5GiB outside of huge pages")
    for fixed in ("locked", "prealloc"):
        assert found(f"memory: {{size: 6GiB, {fixed}: true}}", huge) == [("error", "memory.size", "memory-beyond-host")]


def test_cells_are_added_up() -> None:
    text = """
        cpu: 3
        memory: {memory}
        numa:
          {rest}cells:
            - {{cpus: 0, memory: {each}, nodes: 0}}
            - {{cpus: 1, memory: {each}, nodes: 0}}
            - {{cpus: 2, memory: {each}, nodes: 1}}
        """
    assert found(dedent(text).format(memory="6GiB", each="2GiB", rest="")) == []
    wrong = only(dedent(text).format(memory="7680MiB", each="2560MiB", rest=""))
    assert (wrong.path, wrong.code) == ("numa.cells[0].nodes", "memory-beyond-node")
    assert wrong.message.startswith("5GiB are asked for on node 0")
    both = found(dedent(text).format(memory="15GiB", each="5GiB", rest=""))
    assert [path for _, path, _ in both] == ["numa.cells[0].nodes", "numa.cells[2].nodes"]
    assert found(dedent(text).format(memory="7680MiB", each="2560MiB", rest="mode: preferred\n  ")) == []


def test_memory_far_from_its_vcpus() -> None:
    far = only("cpu: {count: 2, pin: {0: 0, 1: 4}}\nnuma: {nodes: '0'}")
    assert (far.level, far.path, far.code) == ("note", "numa.nodes", "remote-memory")
    assert "vCPU 1 is far away: it is on node 0, and that is pinned to node 1" in far.message
    assert found("cpu: {count: 2, pin: {0: '0,4', 1: 0-4}}\nnuma: {nodes: '0'}") == []
    assert found("cpu: {count: 2, pin: {0: 0, 1: 4}}\nnuma: {nodes: '0', mode: preferred}") == []
    cells = """
        cpu: {count: 2, pin: {0: 0, 1: 1}}
        memory: 2GiB
        numa: {cells: [{cpus: 0, memory: 1GiB, nodes: 0}, {cpus: 1, memory: 1GiB, nodes: 1}]}
        """
    assert only(cells).path == "numa.cells[1].nodes"


def test_a_host_that_says_nothing_of_its_nodes_is_not_judged() -> None:
    assert found("memory: {size: 9GiB, hugepages: 1GiB}\nnuma: {nodes: '3'}", Topology(cpus={}, nodes={})) == []


# -- the error --------------------------------------------------------------------------------------


def check(text: str, tenants: Sequence[Tenant] = NOBODY) -> tuple[str, ...]:
    return check_possible(vm(text), HOST, tenants, host="host1", privileged=False, cgroups=None)


def test_one_error_is_told_in_a_sentence() -> None:
    with pytest.raises(Refused) as refused:
        check("cpu: {count: 9, pin: 9}")
    error = refused.value
    assert (error.code, error.exit_code, error.vm, error.details) == ("impossible", 5, "web1", ())
    assert error.message == "host1 cannot have it: cpu.pin: the host has no CPU 9; it has 0-7"
    assert "topology" in error.hint


def test_all_errors_are_told_together() -> None:
    taken = other("db1", 2, exclusive=True)
    with pytest.raises(Refused) as refused:
        check("cpu: {count: 2, pin: {0: 2, 1: 9}, scheduler: {policy: fifo, priority: 1}}\nnuma: {nodes: '4'}", [taken])
    error = refused.value
    assert (error.code, error.message) == ("impossible", "host1 cannot have it, for 4 reasons")
    told = [line.split(":")[0].strip() for line in error.details if "hint:" not in line]
    assert told == ["cpu.pin.0", "cpu.pin.1", "cpu.scheduler[0]", "numa.nodes"]
    assert sum("hint:" in line for line in error.details) == 4


def test_cpus_of_others_have_a_code_of_their_own() -> None:
    with pytest.raises(Refused) as refused:
        check("cpu: {count: 2, pin: {0: 2, 1: 3}}", [other("db1", 2, 3, exclusive=True)])
    assert refused.value.code == "cpus-exclusive"


def test_notes_are_returned() -> None:
    assert check("cpu: 9") == (
        "web1: cpu.count: 9 vCPUs are more than the host's 8 CPUs, so some wait while others run",
    )
    assert check("") == ()


def test_overcommitting_a_whole_host_is_said_and_no_error() -> None:
    assert overcommitted(vm("cpu: 9\nmemory: 9GiB"), HOST) == (
        "web1: memory.size: 9GiB are asked for on the host, where there are 8GiB",
        "web1: cpu.count: 9 vCPUs are more than the host's 8 CPUs, so some wait while others run",
    )
    assert overcommitted(vm("cpu: 8\nmemory: 8GiB"), HOST) == ()
    assert overcommitted(vm("cpu: 8\nmemory: 8GiB"), Topology(cpus={}, nodes={})) == ()
