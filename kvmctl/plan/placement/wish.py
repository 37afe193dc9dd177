"""What is asked of the planner, and what it answers.

A *helper* is any thread of QEMU that is no vCPU: the emulator (all of QEMU's own threads, as one) and each iothread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

POLICIES = ("compact", "spread", "isolate")
THREADS = ("share", "own_core", "siblings")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A VM that wants a place.

    `near` names the node of each device to be near to. `cpus` and `nodes`, where given, are all that may be used.
    `helpers` counts those that the planner is to place; what is pinned by hand is not among them. `strict`: the memory
    must fit on the nodes; without it, overcommitting is allowed. Huge pages are always strict.

    policy: compact keeps vCPUs together; spread gives them as many L3 caches and cores as the chosen nodes have;
    isolate keeps away from the cores, and if possible the caches, of other VMs.
    threads: share takes any threads; own_core gives each vCPU a core of its own; siblings takes whole cores, of which
    at most one may be left half used.
    """

    vm: str
    vcpus: int
    memory: int = 0
    page_size: int | None = None
    strict: bool = False
    policy: str = "compact"
    threads: str = "share"
    exclusive: bool = False
    near: tuple[int, ...] = ()
    helpers: int = 1
    cpus: frozenset[int] | None = None
    nodes: frozenset[int] | None = None
    new: bool = False
    """There is no such VM yet: what it wishes is changed in its spec."""


@dataclass(frozen=True, kw_only=True, order=True)
class Cost:
    """What a placement costs, most important first: two placements compare by the first criterion that differs.

    See `cost.py` for what each number counts.
    """

    overcommit: int = 0
    remote_memory: int = 0
    distance: int = 0
    neighbours: int = 0
    caches: int = 0
    cores: int = 0
    helpers: int = 0
    fragments: int = 0

    def as_dict(self) -> dict[str, int]:
        """By the name of each criterion, in order."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A part of all sets of nodes that vCPUs could be on: those with all of `inside` and none of `outside`.

    No placement of the part costs less than `bound`; `bound` is None where the wish fits on none of its sets. The
    cases of a certificate share no set and together are all sets: their least bound proves that nothing is better.
    """

    inside: frozenset[int]
    outside: frozenset[int]
    bound: Cost | None


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Why no placement is better: the cases that were looked at, with a lower bound for each."""

    cases: tuple[Case, ...]

    @property
    def bound(self) -> Cost:
        """No placement costs less than this."""
        return min(case.bound for case in self.cases if case.bound is not None)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where it all goes. `vcpus[i]` is the CPU of vCPU i; helpers float over `helpers`; `memory` is bytes by node."""

    vcpus: tuple[int, ...]
    helpers: frozenset[int]
    memory: Mapping[int, int]
    cost: Cost
    certificate: Certificate
