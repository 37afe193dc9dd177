"""The examiner of placements: is it allowed, is all of it as defined, and does its certificate prove what it says?

    python -m tests.plan.placement.checker SEED [middle]    shows one random problem, the answer, and what is wrong

Shares no code with the planner but the types it answers in, and asks it nothing. Lower bounds are checked against the
true least cost of every set of nodes: by trying all placements (`brute.py`), or exactly by other means (`exact.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pprint import pprint

from kvmctl.plan.placement.wish import Case, Certificate, Cost, Placement
from tests.plan.placement.brute import best_by_nodes
from tests.plan.placement.definition import Definition, Nodes, Problem
from tests.plan.placement.exact import Exact
from tests.plan.placement.topologies import MIDDLE, SMALL, problem

Truth = Callable[[Nodes, Cost], bool]
"""Whether no placement on exactly these nodes costs less."""


def check(problem: Problem, placement: Placement | None, *, brute: bool = False) -> tuple[str, ...]:
    """Everything that is wrong with an answer, in words; nothing if all is right.

    `brute` tries all placements: for small hosts only, and the last word there.
    """
    definition = Definition(problem)
    if brute:
        known = best_by_nodes(definition)
        if placement is None:
            return tuple(f"something fits: {sorted(nodes)} at {cost}" for nodes, cost in known.items())
        wrong = tuple(_wrong(definition, placement, lambda nodes, cost: nodes not in known or cost <= known[nodes]))
        best = min(known.values(), default=None)
        return wrong if placement.cost == best else (*wrong, f"not the best: {placement.cost}, there is {best}")
    exact = Exact(definition)

    def true(nodes: Nodes, cost: Cost) -> bool:
        floor = exact.floor(nodes)
        if floor is None or floor >= cost:
            return True
        best = exact.best(nodes)
        return best is None or best >= cost

    if placement is None:
        possible = (nodes for nodes in every(definition) if exact.floor(nodes) is not None)
        found = ((nodes, exact.best(nodes)) for nodes in possible)
        return tuple(f"something fits: {sorted(nodes)} at {cost}" for nodes, cost in found if cost is not None)
    return tuple(_wrong(definition, placement, true))


ALL = Case(inside=frozenset(), outside=frozenset(), bound=None)


def every(definition: Definition, case: Case = ALL) -> Iterator[Nodes]:
    """All sets of nodes that have CPUs and belong to a case, but for the empty one."""
    nodes = {cpu.node for cpu in definition.cpus.values()}
    if case.inside <= nodes and not case.inside & case.outside:
        free = sorted(nodes - case.inside - case.outside)
        for count in range(0 if case.inside else 1, len(free) + 1):
            for some in combinations(free, count):
                yield case.inside.union(some)


def _wrong(definition: Definition, placement: Placement, true: Truth) -> Iterator[str]:
    chosen = frozenset(placement.vcpus)
    if len(chosen) != len(placement.vcpus):
        yield f"a CPU for two vCPUs: {placement.vcpus}"
        return
    cost = definition.cost(chosen)
    if cost is None:
        yield f"not allowed: {sorted(chosen)} of the usable {sorted(definition.usable)}"
        return
    if cost != placement.cost:
        yield f"cost: {placement.cost}, by the definition {cost}"
    if placement.helpers != definition.floats(chosen):
        yield f"helpers: over {sorted(placement.helpers)}, by the definition {sorted(definition.floats(chosen))}"
    yield from _memory(definition, definition.nodes(chosen), placement)
    yield from _certificate(definition, placement, true)


def _memory(definition: Definition, nodes: Nodes, placement: Placement) -> Iterator[str]:
    """On N what fits there; the rest as defined; what fits nowhere on N."""
    given, available, wanted = placement.memory, definition.problem.available, definition.wish.memory
    memory = definition.memory(nodes)
    assert memory is not None
    elsewhere = {node: size for node, size in given.items() if node not in nodes and size}
    if elsewhere != dict(memory.elsewhere):
        yield f"memory elsewhere: {elsewhere}, by the definition {dict(memory.elsewhere)}"
    if sum(given.values()) != wanted or min(given.values(), default=0) < 0:
        yield f"memory: {dict(given)} for {wanted}"
    for node in nodes:
        here, has = given.get(node, 0), available.get(node, 0)
        if here < has if memory.overcommitted else here > has:
            yield f"memory: {here} on node {node} that has {has}, overcommitted {memory.overcommitted}"


def _certificate(definition: Definition, placement: Placement, true: Truth) -> Iterator[str]:
    certificate = placement.certificate
    yield from _partition(definition, certificate)
    if not any(case.bound for case in certificate.cases):
        yield "certificate: no bound"
    elif certificate.bound != placement.cost:
        yield f"certificate: bound {certificate.bound}, cost {placement.cost}"
    for case in certificate.cases:
        bound = Cost(overcommit=sys.maxsize) if case.bound is None else case.bound  # None: there is nothing at all
        for nodes in every(definition, case):
            if not true(nodes, bound):
                yield f"certificate: on {sorted(nodes)} there is less than the bound of {case}"


def _partition(definition: Definition, certificate: Certificate) -> Iterator[str]:
    """The cases share no set, and are all sets."""
    nodes = frozenset(cpu.node for cpu in definition.cpus.values())
    sets = 0
    for case in certificate.cases:
        if case.inside <= nodes and not case.inside & case.outside:
            sets += 2 ** len(nodes - case.inside - case.outside) - (not case.inside)
    if sets != 2 ** len(nodes) - 1:
        yield f"certificate: cases of {sets} sets of nodes, there are {2 ** len(nodes) - 1}"
    for one, other in combinations(certificate.cases, 2):
        common = (one.inside | other.inside) & nodes
        clash = (one.inside | other.inside) & (one.outside | other.outside) or (one.inside | other.inside) - nodes
        if not clash and (common or nodes - one.outside - other.outside):
            yield f"certificate: {one} and {other} share sets"


def main() -> None:
    from kvmctl.plan.placement.solver import place

    small = "middle" not in sys.argv[2:]
    asked = problem(int(sys.argv[1]), SMALL if small else MIDDLE)
    definition = Definition(asked)
    answer = place(asked.topology, asked.tenants, asked.wish, asked.available)
    pprint(asked, width=120)
    pprint({"usable": sorted(definition.usable), "load": definition.load, "held": definition.held})
    print("answer:", answer and (answer.vcpus, answer.helpers, dict(answer.memory), answer.cost))
    for wrong in check(asked, answer, brute=small):
        print("WRONG:", wrong)


if __name__ == "__main__":
    main()
