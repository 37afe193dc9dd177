"""The examiner refuses what is wrong, and its two ways to the least cost agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache

import pytest

from kvmctl.plan.placement.wish import Case, Certificate, Cost, Placement
from tests.plan.placement.brute import answer, best_by_nodes
from tests.plan.placement.checker import ALL, check, every
from tests.plan.placement.definition import Definition, cost_of
from tests.plan.placement.exact import Exact
from tests.plan.placement.topologies import problem

SEEDS = range(300)
Spoiler = Callable[[Definition, Placement], Placement | None]
"""Makes a right answer wrong; None where there is no way to."""


@cache
def right_answers() -> dict[int, tuple[Definition, Placement | None]]:
    """Made once for all tests."""
    definitions = {seed: Definition(problem(seed)) for seed in SEEDS}
    return {seed: (definition, answer(definition)) for seed, definition in definitions.items()}


def recost(placement: Placement, cost: Cost) -> Placement:
    """Another cost, with a certificate that says the same."""
    cases = placement.certificate.cases
    cases = tuple(
        replace(case, bound=cost if case.bound == placement.cost else max(case.bound, cost) if case.bound else None)
        for case in cases
    )
    return replace(placement, cost=cost, certificate=Certificate(cases=cases))


def recase(placement: Placement, *cases: Case) -> Placement:
    return replace(placement, certificate=Certificate(cases=cases))


def one_vcpu_less(definition: Definition, right: Placement) -> Placement | None:
    return replace(right, vcpus=right.vcpus[1:])


def twice_one_cpu(definition: Definition, right: Placement) -> Placement | None:
    return replace(right, vcpus=(*right.vcpus[:-1], right.vcpus[0])) if len(right.vcpus) > 1 else None


def on_a_cpu_not_usable(definition: Definition, right: Placement) -> Placement | None:
    others = sorted(set(definition.cpus) - definition.usable)
    return replace(right, vcpus=(*right.vcpus[1:], others[0])) if others else None


def on_a_cpu_that_is_not_there(definition: Definition, right: Placement) -> Placement | None:
    return replace(right, vcpus=(*right.vcpus[1:], 999))


def worse_and_bounds_that_hide_it(definition: Definition, right: Placement) -> Placement | None:
    """The most tempting lie: a placement that is right in all but that there is a better one."""
    for old in right.vcpus:
        for new in sorted(definition.usable - set(right.vcpus)):
            chosen = frozenset(right.vcpus) - {old} | {new}
            cost = definition.cost(chosen)
            if cost is not None and cost > right.cost and definition.nodes(chosen) == definition.nodes(right.vcpus):
                moved = replace(right, vcpus=tuple(sorted(chosen)), helpers=frozenset(definition.floats(chosen)))
                return recost(moved, cost)
    return None


def a_helper_more(definition: Definition, right: Placement) -> Placement | None:
    others = sorted(set(definition.cpus) - right.helpers)
    return replace(right, helpers=right.helpers | {others[0]}) if others else None


def a_helper_less(definition: Definition, right: Placement) -> Placement | None:
    return replace(right, helpers=right.helpers - {min(right.helpers)})


def a_byte_less(definition: Definition, right: Placement) -> Placement | None:
    some = [node for node, size in right.memory.items() if size]
    return replace(right, memory={**right.memory, some[0]: right.memory[some[0]] - 1}) if some else None


def a_byte_moved_away(definition: Definition, right: Placement) -> Placement | None:
    nodes = definition.nodes(right.vcpus)
    here = [node for node in sorted(nodes) if right.memory.get(node)]
    there = sorted(set(definition.topology.nodes) - nodes)
    if not here or not there:
        return None
    moved = {here[0]: right.memory[here[0]] - 1, there[0]: right.memory.get(there[0], 0) + 1}
    return replace(right, memory={**right.memory, **moved})


def all_memory_on_one_node(definition: Definition, right: Placement) -> Placement | None:
    node, available = min(definition.nodes(right.vcpus)), definition.problem.available
    fits = available.get(node, 0) >= definition.wish.memory
    others = any(size and available.get(other) for other, size in right.memory.items() if other != node)
    return replace(right, memory={node: definition.wish.memory}) if others and not fits else None


def a_case_left_out(definition: Definition, right: Placement) -> Placement | None:
    cases = right.certificate.cases
    infeasible = [case for case in cases if case.bound is None]
    return recase(right, *(case for case in cases if case is not infeasible[0])) if infeasible else None


def a_case_twice(definition: Definition, right: Placement) -> Placement | None:
    return recase(right, *right.certificate.cases, right.certificate.cases[-1])


def a_case_twice_and_another_left_out(definition: Definition, right: Placement) -> Placement | None:
    best, *others = sorted(right.certificate.cases, key=lambda case: case.bound != right.cost)
    return recase(right, best, best, *others[1:]) if others else None


def a_bound_too_high(definition: Definition, right: Placement) -> Placement | None:
    """Of a case that is not the best one, so that the least bound stays right."""
    first, *cases = sorted(right.certificate.cases, key=lambda case: (case.bound is None, case.bound or Cost()))
    for place, case in enumerate(cases):
        if case.bound is not None:
            high = replace(case, bound=replace(case.bound, fragments=case.bound.fragments + 1))
            return recase(right, first, *cases[:place], high, *cases[place + 1 :])
    return None


def nothing_where_there_is_something(definition: Definition, right: Placement) -> Placement | None:
    first, *cases = sorted(right.certificate.cases, key=lambda case: (case.bound is None, case.bound or Cost()))
    possible = any(case.bound is not None for case in cases)
    return recase(right, first, *(replace(case, bound=None) for case in cases)) if possible else None


def a_bound_too_low(definition: Definition, right: Placement) -> Placement | None:
    if right.cost == Cost():
        return None
    low = (replace(case, bound=Cost() if case.bound == right.cost else case.bound) for case in right.certificate.cases)
    return recase(right, *low)


def no_bound(definition: Definition, right: Placement) -> Placement | None:
    return recase(right, *(replace(case, bound=None) for case in right.certificate.cases))


def not_all(name: str, step: int) -> Spoiler:
    def another_number(definition: Definition, right: Placement) -> Placement | None:
        number = getattr(right.cost, name) + step
        return None if number < 0 else recost(right, replace(right.cost, **{name: number}))

    return another_number


SPOILERS: dict[str, tuple[Spoiler, str]] = {
    "one vCPU less": (one_vcpu_less, "not allowed"),
    "twice one CPU": (twice_one_cpu, "two vCPUs"),
    "on a CPU not usable": (on_a_cpu_not_usable, "not allowed"),
    "on a CPU that is not there": (on_a_cpu_that_is_not_there, "not allowed"),
    "worse": (worse_and_bounds_that_hide_it, "less than the bound"),
    "a helper more": (a_helper_more, "helpers"),
    "a helper less": (a_helper_less, "helpers"),
    "a byte less": (a_byte_less, "memory"),
    "a byte moved away": (a_byte_moved_away, "memory elsewhere"),
    "all memory on one node": (all_memory_on_one_node, "memory"),
    "a case left out": (a_case_left_out, "cases of"),
    "a case twice": (a_case_twice, "share sets"),
    "a case twice, another left out": (a_case_twice_and_another_left_out, "share sets"),
    "a bound too high": (a_bound_too_high, "less than the bound"),
    "nothing where there is something": (nothing_where_there_is_something, "less than the bound"),
    "a bound too low": (a_bound_too_low, "certificate: bound"),
    "no bound": (no_bound, "no bound"),
    **{f"{item.name} {step:+}": (not_all(item.name, step), "cost: ") for item in fields(Cost) for step in (1, -1)},
}


@pytest.mark.parametrize("brute", [True, False], ids=["brute", "exact"])
@pytest.mark.parametrize("name", SPOILERS)
def test_what_is_wrong_is_refused(name: str, *, brute: bool) -> None:
    spoil, complaint = SPOILERS[name]
    spoiled = 0
    for seed, (definition, right) in right_answers().items():
        wrong = right and spoil(definition, right)
        if wrong:
            spoiled += 1
            complaints = check(definition.problem, wrong, brute=brute)
            assert any(complaint in line for line in complaints), (seed, complaints)
    assert spoiled >= 5


@pytest.mark.parametrize("brute", [True, False], ids=["brute", "exact"])
def test_what_is_right_is_accepted_and_none_only_where_nothing_fits(*, brute: bool) -> None:
    for seed, (definition, right) in right_answers().items():
        assert check(definition.problem, right, brute=brute) == (), seed
        assert bool(check(definition.problem, None, brute=brute)) == (right is not None), seed


def test_trying_everything_and_dynamic_programming_agree_on_every_set_of_nodes() -> None:
    for seed in range(2000):
        definition = Definition(problem(seed))
        known, exact = best_by_nodes(definition), Exact(definition)
        for nodes in every(definition, ALL):
            best, floor = exact.best(nodes), exact.floor(nodes)
            assert best == known.get(nodes), (seed, nodes)
            assert best is None or (floor is not None and floor <= best), (seed, nodes)


def test_the_cost_of_a_choice_is_that_of_the_definition() -> None:
    definition, right = next((definition, right) for definition, right in right_answers().values() if right)
    assert cost_of(definition.problem, right.vcpus) == right.cost
    assert cost_of(definition.problem, right.vcpus[1:]) is None
