"""The rules of others that the bench compares with: they choose what their documentation says, and never better."""

from __future__ import annotations

from collections.abc import Iterable

from kvmctl.plan.topology import Topology
from tests.bench.kubelet import Kubelet
from tests.bench.nova import Nova
from tests.bench.placement import RULES, compare
from tests.plan.placement.servers import GIB, Server

# Node 0: cores 0-3 with threads 0-3 and 8-11; node 1: cores 4-7 with threads 4-7 and 12-15.
HOST = Server(name="2 x 4 cores", sockets=2, cores=4, memory=8 * GIB).topology()
# One socket of two nodes of two cores: 0, 1, 4, 5 and 2, 3, 6, 7.
SPLIT = Server(name="1 x 4 cores, 2 nodes", sockets=1, nodes=2, cores=2, memory=8 * GIB).topology()


def nova(
    *used: int, vcpus: int, policy: str = "prefer", memory: int = GIB, near: tuple[int, ...] = (), pack: bool = False
) -> list[int] | None:
    free = HOST.online - frozenset(used)
    chosen = Nova(HOST, free, {0: 8 * GIB, 1: 8 * GIB}, pack=pack).place(vcpus, memory, policy, near)
    return None if chosen is None else sorted(chosen)


def kubelet(
    *used: Iterable[int],
    vcpus: int,
    host: Topology = HOST,
    whole: bool = False,
    near: tuple[int, ...] = (),
    aligned: bool = False,
) -> list[int] | None:
    free = host.online.difference(*used)
    chosen = Kubelet(host, free, aligned=aligned).place(vcpus, whole=whole, near=near)
    return None if chosen is None else sorted(chosen)


def test_nova_takes_threads_of_the_first_cores() -> None:
    assert nova(vcpus=3) == [0, 1, 8]
    assert nova(vcpus=3, policy="isolate") == [0, 1, 2]
    assert nova(0, 4, vcpus=2) == [1, 9]
    assert nova(0, 1, 2, 4, 5, 6, 7, vcpus=4, policy="require") is None


def test_nova_prefers_threads_of_one_core_and_falls_back_to_single_ones() -> None:
    busy = (0, 1, 2, 3, 4, 5, 6)
    assert nova(*busy, vcpus=2) == [7, 15]
    assert nova(*busy, vcpus=3) == [12, 13, 14]
    assert nova(*busy, vcpus=3, policy="require") is None
    assert nova(*busy, 7, vcpus=2, policy="isolate") is None


def test_nova_goes_to_the_emptiest_node_unless_it_packs() -> None:
    assert nova(0, 8, vcpus=2) == [4, 12]
    assert nova(0, 8, vcpus=2, pack=True) == [1, 9]
    assert nova(0, 8, vcpus=2, near=(0,)) == [1, 9]


def test_nova_gives_a_guest_as_many_nodes_as_it_needs_and_never_too_much_memory() -> None:
    assert nova(vcpus=10) == [0, 1, 2, 4, 5, 6, 8, 9, 12, 13]
    assert nova(vcpus=2, memory=12 * GIB) == [0, 4]
    assert nova(vcpus=2, memory=17 * GIB) is None
    assert nova(vcpus=17) is None


def test_the_kubelet_takes_sockets_then_cores_then_threads() -> None:
    assert kubelet(vcpus=8) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert kubelet(vcpus=9) == [0, 1, 2, 3, 4, 8, 9, 10, 11]
    assert kubelet(vcpus=3) == [0, 1, 8]
    assert kubelet({0}, vcpus=8) == [4, 5, 6, 7, 12, 13, 14, 15]
    assert kubelet({0}, vcpus=1) == [8]
    assert kubelet(vcpus=17) is None
    assert kubelet(vcpus=4, host=SPLIT) == [0, 1, 4, 5]
    assert kubelet({0}, vcpus=3, host=SPLIT) == [1, 4, 5]


def test_the_kubelet_prefers_the_fullest_socket_and_looks_at_nodes_only_if_it_is_told_to() -> None:
    busy = (0, 1, 2, 8, 9, 10)
    assert kubelet(busy, vcpus=2) == [3, 11]
    assert kubelet(busy, vcpus=4) == [3, 4, 11, 12]
    assert kubelet(busy, vcpus=4, aligned=True) == [4, 5, 12, 13]


def test_the_kubelet_agrees_on_nodes_with_the_device() -> None:
    assert kubelet(vcpus=2, near=(1,)) == [0, 8]
    assert kubelet(vcpus=2, near=(1,), aligned=True) == [4, 12]
    assert kubelet({4, 5, 6, 7}, vcpus=5, near=(1,), aligned=True) == [0, 1, 2, 8, 9]  # no node pleases both
    assert kubelet(vcpus=10, near=(1,), aligned=True) == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]


def test_the_kubelet_gives_whole_cores_only() -> None:
    assert kubelet({0}, vcpus=2, whole=True) == [1, 9]
    assert kubelet(vcpus=3, whole=True) is None
    assert kubelet({0, 1, 2, 3, 4, 5, 6}, vcpus=4, whole=True) is None


def test_no_rule_ever_costs_less() -> None:
    scores = compare(80)
    assert set(scores) == set(RULES)
    for name, score in scores.items():
        assert score.worse == 0, name
        assert score.better > 5 and score.equal > 5, name
