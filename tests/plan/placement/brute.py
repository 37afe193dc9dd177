"""The best placements by trying every choice of CPUs. Skips only what is too few or too many CPUs.

For hosts of a dozen CPUs. Uses the definition and nothing of the planner.
"""

from __future__ import annotations

from itertools import combinations

from kvmctl.plan.placement.wish import Case, Certificate, Cost, Placement
from tests.plan.placement.definition import Definition, Nodes

WORST = Cost(overcommit=1 << 62)


def best_by_nodes(definition: Definition) -> dict[Nodes, Cost]:
    """The least cost for each set of nodes N that some placement is on."""
    best: dict[Nodes, Cost] = {}
    for choice in combinations(sorted(definition.usable), definition.wish.vcpus):
        chosen = frozenset(choice)
        cost = definition.cost(chosen)
        if cost is not None:
            nodes = definition.nodes(chosen)
            best[nodes] = min(best.get(nodes, cost), cost)
    return best


def answer(definition: Definition) -> Placement | None:
    """A right answer, with a case for each set of nodes."""
    known = best_by_nodes(definition)
    if not known:
        return None
    choices = map(frozenset, combinations(sorted(definition.usable), definition.wish.vcpus))
    cost, chosen = min((definition.cost(choice) or WORST, sorted(choice)) for choice in choices)
    nodes = frozenset(cpu.node for cpu in definition.cpus.values())
    cases = (
        Case(inside=frozenset(some), outside=nodes - frozenset(some), bound=known.get(frozenset(some)))
        for count in range(1, len(nodes) + 1)
        for some in combinations(sorted(nodes), count)
    )
    return Placement(
        vcpus=tuple(chosen),
        helpers=frozenset(definition.floats(frozenset(chosen))),
        memory=_memory(definition, definition.nodes(chosen)),
        cost=cost,
        certificate=Certificate(cases=tuple(cases)),
    )


def _memory(definition: Definition, nodes: Nodes) -> dict[int, int]:
    """Bytes by node: the first node of N gets what it has, and so on; the last also what fits nowhere."""
    memory = definition.memory(nodes)
    assert memory is not None
    rest = definition.wish.memory - memory.remote
    given = {}
    for node in sorted(nodes):
        given[node] = min(rest, definition.problem.available.get(node, 0))
        rest -= given[node]
    given[max(nodes)] += memory.overcommitted
    return given | dict(memory.elsewhere)
