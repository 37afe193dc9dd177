"""Why a VM is where it is: the sentences, and that each is said when its criterion matters and at no other time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kvmctl.plan.placement.reason import figures, reason
from kvmctl.plan.placement.solver import place
from kvmctl.plan.placement.wish import Case, Certificate, Cost, Placement, Wish
from kvmctl.plan.topology import Tenant, Topology
from tests.plan.placement.definition import Definition, Problem
from tests.plan.placement.servers import GIB, Server
from tests.plan.placement.topologies import MIDDLE, SMALL, problem

HOST = Server(name="2 nodes, 2 L3 caches each, 2 cores, 2 threads", sockets=2, caches=2, cores=2).topology()
"""Node 0 has the cores (0, 8) and (1, 9) in one L3 cache and (2, 10) and (3, 11) in another; node 1 the next four."""
ONE = Server(name="1 node, 2 cores, no threads", sockets=1, cores=2, threads=1).topology()
ROOM = {0: 4 * GIB, 1: 4 * GIB}
BEYOND = "1GiB more than there is (overcommit)"


def vm(name: str, *pins: int, **fields: Any) -> Tenant:
    """A VM with each vCPU on a CPU."""
    vcpus = {number: frozenset({pin}) for number, pin in enumerate(pins)}
    return Tenant(vm=name, uuid=name, count=len(pins) or 1, vcpus=vcpus, **fields)


def placed(question: Problem, *vcpus: int) -> Placement:
    """A placement on these CPUs, as if nothing were better."""
    definition = Definition(question)
    chosen = frozenset(vcpus)
    cost, nodes = definition.cost(chosen), definition.nodes(chosen)
    assert cost is not None
    memory = definition.memory(nodes)
    assert memory is not None
    here = (question.wish.memory - sum(memory.elsewhere.values())) // len(nodes)
    return Placement(
        vcpus=vcpus,
        helpers=frozenset(definition.floats(chosen)),
        memory={node: size for node, size in {**dict.fromkeys(nodes, here), **memory.elsewhere}.items() if size},
        cost=cost,
        certificate=Certificate(cases=(Case(inside=nodes, outside=frozenset(), bound=cost),)),
    )


def said(
    *vcpus: int,
    others: Sequence[Tenant] = (),
    topology: Topology = HOST,
    room: Mapping[int, int] = ROOM,
    devices: Mapping[int, list[str]] | None = None,
    **wish: Any,
) -> tuple[str, ...]:
    """The sentences about a VM on these CPUs, without the last."""
    wanted = Wish(vm="web2", vcpus=len(vcpus), **wish)
    question = Problem(topology=topology, tenants=others, wish=wanted, available=room)
    *sentences, last = reason(topology, others, wanted, placed(question, *vcpus), devices=devices)
    assert last.startswith("no placement is better: ")
    return tuple(sentences)


def test_whole_cores_of_one_cache() -> None:
    assert said(0, 8, 1, 9, memory=2 * GIB) == (
        "4 vCPUs on 2 whole cores (0-1,8-9) of one L3 cache",
        "memory: 2GiB on node 0, all local",
        "emulator on 2-3,10-11, off the vCPUs' cores",
    )


def test_a_small_host_has_little_to_say() -> None:
    assert said(0, topology=ONE, room={0: GIB}, memory=GIB) == (
        "1 vCPU on 1 core (0)",
        "emulator on 1, off the vCPUs' cores",
    )


@pytest.mark.parametrize(
    ("vcpus", "wish", "sentence"),
    [
        ((0, 8, 1), {}, "3 vCPUs on 2 cores (0-1,8) of one L3 cache, 1 of them whole"),
        ((0,), {}, "1 vCPU on 1 core (0) of one L3 cache"),
        ((0, 8), {"exclusive": True}, "2 vCPUs on 1 whole core (0,8) of one L3 cache, for this VM alone"),
        ((0, 1), {"threads": "own_core"}, "2 vCPUs on 2 cores (0-1) of one L3 cache, one on each"),
        ((0, 1, 2, 3), {"policy": "spread"}, "4 vCPUs on 4 cores (0-3) in 2 L3 caches"),
        ((0, 8, 2, 10), {}, "4 vCPUs on 2 whole cores (0,2,8,10) in 2 L3 caches"),
    ],
)
def test_vcpus_in_words(vcpus: tuple[int, ...], wish: dict[str, Any], sentence: str) -> None:
    assert said(*vcpus, **wish)[0] == sentence


def test_near_to_a_device() -> None:
    assert said(4, near=(1,), devices={1: ["eth2"]})[0] == "node 1, since eth2 is there"
    assert said(4, near=(1,), devices={1: ["eth2", "eth3"]})[0] == "node 1, since eth2 and eth3 are there"
    assert said(4, near=(1, 1))[0] == "node 1, since the device it is to be near to is there"


def test_not_near_enough() -> None:
    devices = {1: ["eth2"]}
    half = [*range(4), *range(8, 12)]
    assert said(*half, 4, near=(1,), devices=devices)[::2][:2] == (
        "nodes 0-1: eth2 is on node 1",
        "nodes 0-1: no node has room for more than 8 of the vCPUs",
    )
    taken = vm("a", *HOST.online.difference(half), exclusive=True)
    assert said(0, others=[taken], near=(1,), devices=devices)[0] == (
        "node 0, though eth2 is on node 1, which has room for none of the vCPUs"
    )
    assert said(0, near=(1,), devices=devices)[0] == "node 0, though eth2 is on node 1"
    cores = said(0, 1, 2, 3, others=[vm("b", 4)], threads="own_core", near=(1,), devices=devices)
    assert cores[0] == "node 0, though eth2 is on node 1, which has room for 3 of the vCPUs"


def test_no_node_has_room() -> None:
    words = "no node has room for more than"
    assert words not in " ".join(said(0, 4))
    assert words not in " ".join(said(*range(4), *range(8, 12)))


def test_who_shares() -> None:
    others = [vm("a", *HOST.online), vm("b", 0, 8)]
    assert said(0, 8, 1, others=others)[1:3] == (
        "shares CPUs 0,8 with a and b (overcommit)",
        "shares CPU 1 with a (overcommit)",
    )
    by_hand = Tenant(vm="c", emulator=HOST.online, iothreads={1: HOST.online})
    assert "shares CPU 0 with c (overcommit)" in said(0, others=[by_hand])
    assert "(overcommit)" not in " ".join(said(0, others=[replace(by_hand, automatic=True)]))


def test_who_is_on_the_same_core() -> None:
    others = [vm("a", 0, 1), vm("b", 2)]
    assert "CPU 8 is on a core with a" in said(8, 11, others=others)
    assert "CPUs 8-9 are on cores with a" in said(8, 9, others=others)
    assert " with " not in " ".join(said(3, 11, others=others))


def test_who_is_in_the_same_cache() -> None:
    others = [vm("a", 0), vm("b", 2, 4, 6)]
    assert "its L3 cache has other VMs, too: a" in said(1, others=others, policy="isolate")
    assert "2 of its 2 L3 caches have other VMs, too: a and b" in said(1, 3, others=others, policy="isolate")
    assert "1 of its 2 L3 caches has other VMs, too: a" in said(1, 3, others=others[:1], policy="isolate")
    assert "too:" not in " ".join(said(1, others=others))


@pytest.mark.parametrize(
    ("vcpus", "wish", "sentence"),
    [
        (
            (0,),
            {"memory": 6 * GIB},
            "memory: 4GiB on node 0 and 2GiB on node 1; no vCPU is on node 1, but node 0 has no more",
        ),
        (
            (0,),
            {"memory": 9 * GIB},
            f"memory: 5GiB on node 0 and 4GiB on node 1; no vCPU is on node 1, but node 0 has no more; {BEYOND}",
        ),
        (
            (0,),
            {"memory": 5 * GIB, "nodes": frozenset({0})},
            f"memory: 5GiB on node 0; {BEYOND}",
        ),
        ((0,), {"memory": 2**21, "page_size": 2**21}, "memory: 2MiB on node 0 in pages of 2MiB, all local"),
        ((0, 4), {"memory": GIB}, "memory: 512MiB on node 0 and 512MiB on node 1, all local"),
    ],
)
def test_memory_in_words(vcpus: tuple[int, ...], wish: dict[str, Any], sentence: str) -> None:
    assert sentence in said(*vcpus, **wish)


def test_memory_of_a_host_with_one_node_is_told_only_if_it_is_too_much() -> None:
    sentences = said(0, topology=ONE, room={0: GIB}, memory=2 * GIB)
    assert f"memory: 2GiB on node 0; {BEYOND}" in sentences


def test_helpers_in_words() -> None:
    half = [*range(4), *range(8, 12)]
    assert said(0, 8, helpers=1)[-1] == "emulator on 1-3,9-11, off the vCPUs' cores"
    assert said(0, 8, helpers=3)[-1] == "emulator and iothreads on 1-3,9-11, off the vCPUs' cores"
    assert said(*half)[-1] == "emulator on 4-7,12-15 of node 1: node 0 has no core left for it"
    assert said(*half, helpers=2)[-1].endswith("node 0 has no core left for them")
    assert said(*range(16))[-1] == "emulator on 0-15, the vCPUs' own CPUs: no other core is left"
    assert "emulator" not in " ".join(said(0, helpers=0))


def test_the_proof() -> None:
    def last(**wish: Any) -> str:
        wanted = Wish(vm="web2", **wish)
        placement = place(HOST, (), wanted, ROOM)
        assert placement is not None
        return reason(HOST, (), wanted, placement)[-1]

    assert last(vcpus=4) == (
        "no placement is better: all sets of nodes looked at, in 3 cases; "
        "lower bound = cost = 1 L3 cache, 4 CPUs left over beside it"
    )
    wanted = Wish(vm="web2", vcpus=1)
    placement = place(ONE, (), wanted, {})
    assert placement is not None
    assert reason(ONE, (), wanted, placement)[-1].startswith("no placement is better: there is one set of nodes; ")
    case = Case(inside=frozenset({0}), outside=frozenset(), bound=Cost())
    unproved = replace(placement, certificate=Certificate(cases=(case,)))
    assert reason(ONE, (), wanted, unproved)[-1] == "a better placement may exist: lower bound nothing"


def test_figures_in_words() -> None:
    wish = Wish(vm="web2", vcpus=1, helpers=2)
    every = Cost(overcommit=1, remote_memory=GIB, distance=22, neighbours=2, caches=1, cores=3, helpers=2, fragments=1)
    assert figures(every, wish) == (
        "1 thread of other VMs on its CPUs, 1GiB of memory away from the vCPUs, distance 22, "
        "2 L3 caches with other VMs, 1 L3 cache, 3 cores split or shared, helpers on another node, "
        "1 CPU left over beside it"
    )
    assert figures(Cost(helpers=4), wish) == "helpers on vCPUs' CPUs"
    assert figures(Cost(caches=2), replace(wish, policy="spread")) == "2 L3 caches unused"
    assert figures(Cost(), wish) == "nothing"


SAID = {
    "overcommit": "shares CPU",
    "remote_memory": "no more|overcommit)",
    "neighbours": "other VMs, too",
    "helpers": "no core left for|no other core is left",
}
"""What is said if a criterion is not 0, and at no other time."""


@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=["small", "middle"])
def test_each_sentence_stands_for_its_criterion(size: Any) -> None:
    found = dict.fromkeys(SAID, 0)
    for seed in range(1500):
        question = problem(seed, size)
        placement = place(question.topology, question.tenants, question.wish, question.available)
        if placement is None:
            continue
        sentences = reason(question.topology, question.tenants, question.wish, placement)
        assert all(sentence and sentence.isprintable() for sentence in sentences)
        assert sentences[-1].startswith("no placement is better: ")
        for criterion, words in SAID.items():
            of_memory = criterion == "remote_memory"
            here = [sentence for sentence in sentences[:-1] if not of_memory or sentence.startswith("memory:")]
            told = any(word in sentence for word in words.split("|") for sentence in here)
            cost = getattr(placement.cost, criterion)
            assert told == (cost > 0), (seed, criterion, sentences)
            found[criterion] += told
        definition = Definition(question)
        ours = {question.topology.cpus[number].core for number in placement.vcpus}
        others = {question.topology.cpus[one].core for one in question.topology.online - {*placement.vcpus}}
        pinned = {
            question.topology.cpus[number].core
            for cpus in definition.pinned
            for number in cpus
            if number in question.topology.online - {*placement.vcpus}
        }
        shared = any(" with vm" in sentence and " on " in sentence.partition(" with ")[0] for sentence in sentences)
        assert shared == bool(ours & others & pinned), (seed, sentences)
    assert min(found.values()) > 10
