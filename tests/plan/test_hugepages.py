"""Which size of huge pages is meant, how many go where, and what speaks against it: `plan/hugepages.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.errors import KvmctlError
from kvmctl.plan import hugepages
from kvmctl.plan.topology import NumaNode, PagePool, Tenant, Topology

MIB, GIB = 2**20, 2**30
SMALL, LARGE = 2 * MIB, GIB


def host(*pools: tuple[int, int], size: int = SMALL, memory: int = 4 * GIB) -> Topology:
    """A node for each total and free."""
    return Topology(
        cpus={},
        nodes={
            number: NumaNode(number=number, memory=memory, free=memory, pages={size: PagePool(total=total, free=free)})
            for number, (total, free) in enumerate(pools)
        },
    )


def two_sizes(small: int, large: int) -> Topology:
    pages = {SMALL: PagePool(total=small, free=0), LARGE: PagePool(total=large, free=0)}
    return Topology(cpus={}, nodes={0: NumaNode(number=0, memory=4 * GIB, free=0, pages=pages)})


def user(name: str, pages: int, *nodes: int, running: bool = True) -> Tenant:
    memory_nodes = frozenset(nodes)
    return Tenant(vm=name, running=running, memory=pages * SMALL, page_size=SMALL, memory_nodes=memory_nodes)


def code(problem: pytest.ExceptionInfo[KvmctlError]) -> tuple[str, int]:
    return problem.value.code, problem.value.exit_code


def test_the_size_that_is_meant() -> None:
    assert hugepages.size_of(host((0, 0)), None) == SMALL, "the only one that is offered"
    assert hugepages.sizes(two_sizes(5, 0)) == (SMALL, LARGE)
    assert hugepages.size_of(two_sizes(5, 0), None) == SMALL, "the only one that is used"
    assert hugepages.size_of(two_sizes(5, 0), LARGE) == LARGE


@pytest.mark.parametrize("topology", [two_sizes(0, 0), two_sizes(5, 1)], ids=["none used", "both used"])
def test_a_size_that_is_not_clear(topology: Topology) -> None:
    with pytest.raises(KvmctlError) as problem:
        hugepages.size_of(topology, None)
    assert code(problem) == ("usage", 2)
    assert "2MiB and 1GiB" in problem.value.message


def test_a_size_that_is_not_offered() -> None:
    with pytest.raises(KvmctlError) as problem:
        hugepages.size_of(host((0, 0)), LARGE)
    assert code(problem) == ("not-supported", 5)
    assert problem.value.message.endswith("offer 2MiB")
    with pytest.raises(KvmctlError) as problem:
        hugepages.size_of(Topology(cpus={}, nodes={}), None)
    assert code(problem) == ("not-supported", 5)
    assert problem.value.message.endswith("offer none at all")


def test_on_one_node() -> None:
    assert hugepages.wanted(host((0, 0), (7, 7)), SMALL, 5, 1, ()) == {1: 5}


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(KvmctlError) as problem:
        hugepages.wanted(host((0, 0), (0, 0)), SMALL, 5, 2, ())
    assert code(problem) == ("node-not-found", 3)
    assert "it has 0-1" in problem.value.message


def test_spread_evenly() -> None:
    assert hugepages.wanted(host((0, 0), (9, 9)), SMALL, 10, None, ()) == {0: 5, 1: 5}
    assert hugepages.wanted(host((0, 0), (0, 0), (0, 0)), SMALL, 5, None, ()) == {0: 2, 1: 2, 2: 1}
    assert hugepages.wanted(host((3, 3), (3, 3)), SMALL, 0, None, ()) == {0: 0, 1: 0}


def test_what_is_in_use_stays_where_it_is() -> None:
    assert hugepages.wanted(host((9, 1), (0, 0)), SMALL, 10, None, ()) == {0: 8, 1: 2}
    assert hugepages.wanted(host((9, 1), (0, 0)), SMALL, 20, None, ()) == {0: 10, 1: 10}


def test_a_node_gets_no_more_than_it_has_room_for() -> None:
    uneven = Topology(
        cpus={}, nodes={0: host((0, 0), memory=6 * MIB).nodes[0], 1: host((0, 0), (0, 0), memory=GIB).nodes[1]}
    )
    assert hugepages.wanted(uneven, SMALL, 20, None, ()) == {0: 3, 1: 17}


@given(
    pools=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 30)), min_size=1, max_size=4),
    count=st.integers(0, 80),
)
def test_spreading_is_exact_and_as_even_as_can_be(pools: list[tuple[int, int, int]], count: int) -> None:
    nodes = {
        number: NumaNode(
            number=number,
            memory=(used + more) * SMALL,
            free=0,
            pages={SMALL: PagePool(total=used + free, free=free)},
        )
        for number, (used, free, more) in enumerate(pools)
    }
    topology = Topology(cpus={}, nodes=nodes)
    used = {number: pool[0] for number, pool in enumerate(pools)}
    room = {number: pool[0] + pool[2] for number, pool in enumerate(pools)}
    if not sum(used.values()) <= count <= sum(room.values()):
        with pytest.raises(KvmctlError):
            hugepages.wanted(topology, SMALL, count, None, ())
        return
    found = hugepages.wanted(topology, SMALL, count, None, ())
    assert sum(found.values()) == count
    assert all(used[number] <= pages <= room[number] for number, pages in found.items())
    for one in found:
        for another in found:
            # No page could move to a node that has two fewer.
            assert found[one] - found[another] < 2 or found[one] == used[one] or found[another] == room[another]


def test_more_than_the_memory() -> None:
    with pytest.raises(KvmctlError) as problem:
        hugepages.wanted(host((0, 0), (0, 0)), SMALL, 2049, 1, ())
    assert code(problem) == ("resource-missing", 5)
    assert problem.value.message == "2049 pages of 2MiB do not fit into the memory on node 1, 4096MiB"
    assert "2048" in problem.value.hint
    assert hugepages.wanted(host((0, 0), (0, 0)), SMALL, 2049, None, ()) == {0: 1025, 1: 1024}


def test_pages_in_use_are_not_taken() -> None:
    busy = host((10, 2), (10, 10))
    tenants = [user("web1", 6, 0), user("db1", 2), user("far", 4, 1), user("off", 4, 0, running=False)]
    with pytest.raises(KvmctlError) as problem:
        hugepages.wanted(busy, SMALL, 7, 0, tenants)
    assert code(problem) == ("hugepages-in-use", 5)
    assert problem.value.message == "8 huge pages of 2MiB are in use on node 0, by web1, db1; those stay"
    assert [line.split() for line in problem.value.details] == [["web1:", "6"], ["db1:", "2"]]
    assert problem.value.hint.startswith("kvmctl stop web1 db1")
    assert hugepages.wanted(busy, SMALL, 8, 0, tenants) == {0: 8}
    with pytest.raises(KvmctlError) as problem:
        hugepages.wanted(busy, SMALL, 7, None, ())
    assert "something that is no VM" in problem.value.message


@pytest.mark.parametrize(
    ("size", "counts", "words"),
    [
        (SMALL, {0: 512}, "hugepagesz=2M hugepages=512"),
        (LARGE, {0: 4, 1: 4}, "hugepagesz=1G hugepages=8"),
        (SMALL, {0: 3, 1: 2}, "hugepagesz=2M hugepages=0:3,1:2"),
        (LARGE, {0: 0, 1: 16}, "hugepagesz=1G hugepages=1:16"),
        (64 * 1024, {0: 7}, "hugepagesz=64K hugepages=7"),
        (16 * GIB, {0: 1}, "hugepagesz=16G hugepages=1"),
    ],
)
def test_words_for_the_kernels_command_line(size: int, counts: dict[int, int], words: str) -> None:
    assert hugepages.boot_words(size, counts) == words


def test_how_to_have_them_after_a_reboot() -> None:
    [said] = hugepages.lasting(host((4, 4), (0, 0)), SMALL)
    assert "'hugepagesz=2M hugepages=0:4'" in said
    assert list(hugepages.lasting(host((0, 0)), SMALL)) == []


def test_fewer_than_asked_for() -> None:
    assert hugepages.short("host1", host((4, 4)), SMALL, {0: 4}) is None
    error = hugepages.short("host1", host((4, 4), (3, 1)), SMALL, {0: 4, 1: 9})
    assert error is not None
    assert (error.code, error.exit_code) == ("hugepages-short", 5)
    assert error.message.startswith("host1 has 3 of the 9 huge pages of 2MiB asked for on node 1:")
    assert "'hugepagesz=2M hugepages=0:4,1:9'" in error.hint
    assert "those are kept" in error.details[0]
    none = hugepages.short("host1", host((0, 0)), SMALL, {0: 2})
    assert none is not None and none.details == ()


def test_pages_that_guests_cannot_use() -> None:
    said = hugepages.not_mounted(SMALL, daemon=True)
    assert "mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages, and restart libvirtd" in said
    assert "pagesize=1G hugetlbfs /dev/hugepages1G" in hugepages.not_mounted(LARGE, daemon=True)
    assert "restart" not in hugepages.not_mounted(SMALL, daemon=False)


def test_little_memory_for_the_rest() -> None:
    [said] = hugepages.little_left(host((1900, 0)))
    assert "296MiB" in said
    assert list(hugepages.little_left(host((1700, 0)))) == []
    assert list(hugepages.little_left(host((0, 0), memory=GIB // 4))) == [], "a small host without any is as it is"
