"""How good and how fast the placement planner is: against Nova's and KubeVirt's rules, and on a large host.

All are asked the same on the same hosts: a VM with CPUs for itself, beside VMs that came and went. Judged by the same
cost, as the examiner in tests/plan/placement works it out. Asserts nothing.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from kvmctl.plan.placement.solver import place
from kvmctl.plan.placement.wish import POLICIES, THREADS, Cost, Wish
from tests.bench import nova
from tests.bench.kubelet import Kubelet
from tests.plan.placement.definition import Definition, Problem
from tests.plan.placement.servers import GIB, LARGE, SERVERS, Server, residents, room

HOSTS = 600
LARGE_VMS = 100
MANY_NODES = Server(name="every L3 a node (24 nodes)", sockets=2, nodes=12, cores=8, memory=96 * GIB)
"""The large host as its firmware may also show it; for information."""
BUDGET = 50.0
"""Milliseconds for one plan on the large host; of CPU time, since others use the machine too."""

Rule = Callable[[Definition, frozenset[int]], frozenset[int] | None]
"""The CPUs that somebody's rules choose of those nobody uses; None where they find none."""


def nova_rule(*, pack: bool) -> Rule:
    def choose(definition: Definition, free: frozenset[int]) -> frozenset[int] | None:
        wish = definition.wish
        host = nova.Nova(definition.topology, free, dict(definition.problem.available), pack=pack)
        return host.place(wish.vcpus, wish.memory, nova.POLICIES[wish.threads], wish.near)

    return choose


def kubelet_rule(*, aligned: bool) -> Rule:
    def choose(definition: Definition, free: frozenset[int]) -> frozenset[int] | None:
        wish = definition.wish
        if wish.threads == "own_core":
            return None  # there is no such wish
        host = Kubelet(definition.topology, free, aligned=aligned)
        return host.place(wish.vcpus, whole=wish.threads == "siblings", near=wish.near)

    return choose


RULES: dict[str, Rule] = {
    "Nova, spread (default)": nova_rule(pack=False),
    "Nova, pack": nova_rule(pack=True),
    "KubeVirt, no topology manager (default)": kubelet_rule(aligned=False),
    "KubeVirt, best-effort": kubelet_rule(aligned=True),
}


def problems(count: int) -> Iterator[Problem]:
    """VMs of usual sizes on servers that are between empty and full."""
    for seed in range(count):
        random = Random(seed)
        topology = random.choice(SERVERS).topology()
        tenants = residents(random, topology, random.randint(0, len(topology.cpus) // 6))
        vcpus = random.choice((1, 2, 2, 3, 4, 4, 6, 8, 8, 12, 16, 24, 32))
        wish = Wish(
            vm="wanted",
            vcpus=vcpus,
            memory=vcpus * random.choice((1, 2, 4)) * GIB,
            threads=random.choice(THREADS),
            exclusive=True,
            near=(random.choice(sorted(topology.nodes)),) if random.random() < 0.25 else (),
        )
        yield Problem(topology=topology, tenants=tenants, wish=wish, available=room(topology, tenants))


@dataclass(kw_only=True)
class Score:
    """How ours compares with one rule set: how often, and which criterion told."""

    better: int = 0
    equal: int = 0
    worse: int = 0
    alone: int = 0
    """We found a place, the others none, or none that is what was wished."""
    nobody: int = 0
    why: Counter[str] = field(default_factory=Counter)

    def add(self, ours: Cost | None, theirs: Cost | None) -> None:
        if ours is None or theirs is None:
            self.nobody += ours is None and theirs is None
            self.alone += ours is not None and theirs is None
            self.worse += ours is None and theirs is not None
            return
        self.better += ours < theirs
        self.equal += ours == theirs
        self.worse += ours > theirs
        if ours < theirs:
            names = Cost.__dataclass_fields__
            self.why[next(name for name in names if getattr(ours, name) != getattr(theirs, name))] += 1


def compare(count: int) -> dict[str, Score]:
    """Ours against each rule set, on that many hosts."""
    scores = {name: Score() for name in RULES}
    for problem in problems(count):
        definition = Definition(problem)
        ours = place(problem.topology, problem.tenants, problem.wish, problem.available)
        # What they take for free does not depend on how the VM wants its threads.
        free = Definition(replace(problem, wish=replace(problem.wish, threads="share"))).usable
        for name, rule in RULES.items():
            if problem.wish.threads == "own_core" and name.startswith("KubeVirt"):
                continue
            chosen = rule(definition, free)
            theirs = None if chosen is None else definition.cost(chosen)
            scores[name].add(definition.cost(frozenset(ours.vcpus)) if ours else None, theirs)
    return scores


def times(server: Server, sizes: Iterable[int], policy: str, threads: str) -> list[float]:
    """Milliseconds for each number of vCPUs on a host with many VMs."""
    topology = server.topology()
    tenants = residents(Random(LARGE_VMS), topology, LARGE_VMS)
    available = room(topology, tenants)
    taken = []
    for vcpus in sizes:
        wish = Wish(vm="wanted", vcpus=vcpus, memory=vcpus * 2 * GIB, policy=policy, threads=threads)
        started = time.process_time()
        place(topology, tenants, wish, available)
        taken.append((time.process_time() - started) * 1000)
    return taken


def report() -> None:
    print(f"==> placement on {HOSTS} hosts: how often ours costs less than what other rules choose\n", flush=True)
    print(f"{'':<40} {'better':>7} {'equal':>7} {'worse':>7} {'no place':>9} {'nobody':>7}   better by", flush=True)
    for name, score in compare(HOSTS).items():
        why = ", ".join(f"{criterion} {count}" for criterion, count in score.why.most_common())
        counts = f"{score.better:>7} {score.equal:>7} {score.worse:>7} {score.alone:>9} {score.nobody:>7}"
        print(f"{name:<40} {counts}   {why}")
    print(f"\n==> one plan on {LARGE.name}, {LARGE_VMS} VMs, for 2 to 96 vCPUs: milliseconds of CPU time\n", flush=True)
    print(f"{'':<40} {'median':>9} {'most':>9} {'budget':>9}")
    for policy in POLICIES:
        for threads in THREADS:
            print(line(f"{policy}, {threads}", times(LARGE, range(2, 97), policy, threads), BUDGET), flush=True)
    print(line(f"{MANY_NODES.name}, 2 to 16", times(MANY_NODES, range(2, 17, 2), "compact", "share"), None))
    print()


def line(title: str, taken: list[float], budget: float | None) -> str:
    limit = "" if budget is None else f"{f'<= {budget:.0f}':>9} {'ok' if max(taken) <= budget else 'OVER'}"
    return f"{title:<40} {statistics.median(taken):>9.1f} {max(taken):>9.1f} {limit}".rstrip()
