"""Why a wish fits nowhere: the VMs and the wishes that stand in its way, and the nearest that does fit. Pure.

VMs: a smallest set without which it would fit, up to two of them; of more, a set of which none can be left out. Those
that do not run, and small ones, are named rather than others. Wishes: as few as must be given up. `near` is not among
them, since it never keeps a VM out. How much is tried does not grow with the VMs of a host beyond `PAIRED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from kvmctl.plan.placement.memory import available
from kvmctl.plan.placement.obstacles import changing, hints_of, sentences_of
from kvmctl.plan.placement.reason import figures
from kvmctl.plan.placement.trials import Trials
from kvmctl.spec.kinds import show_cpus

if TYPE_CHECKING:
    from kvmctl.plan.placement.wish import Cost, Placement, Wish
    from kvmctl.plan.topology import Tenant, Topology

PAIRED = 60
"""Of so many VMs at most all pairs are tried."""
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A wish that gives something up, and where it fits. `hint` is a command, or a key of the spec, that says so."""

    gives_up: str
    wish: Wish
    placement: Placement
    hint: str

    @property
    def cost(self) -> Cost:
        return self.placement.cost


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """What stands in the way. With `vcpus` vCPUs and `memory` bytes it would fit as wished, unless either is 0."""

    blockers: tuple[Tenant, ...]
    nearest: tuple[Alternative, ...]
    vcpus: int
    memory: int
    sentences: tuple[str, ...]
    hints: tuple[str, ...]


def why(topology: Topology, tenants: Sequence[Tenant], wish: Wish, available: Mapping[int, int]) -> Unfit:
    """Why `place` with the same arguments has found nothing."""
    trials = Trials(topology=topology, tenants=tenants, wish=wish, available=available)
    blockers = _blockers(trials)
    nearest = _nearest(trials)
    unit = wish.page_size or MIB
    vcpus = min(trials.seats(), wish.vcpus)
    memory = min(trials.memory() // unit * unit, wish.memory) if trials.rigid else wish.memory
    return Unfit(
        blockers=tuple(tenants[index] for index in blockers),
        nearest=nearest,
        vcpus=vcpus,
        memory=memory,
        sentences=(
            *sentences_of(trials, blockers, vcpus, memory),
            *(f"it would fit {other.gives_up} (cost: {figures(other.cost, other.wish)})" for other in nearest),
        ),
        hints=(*hints_of(trials, blockers), *(other.hint for other in nearest)),
    )


def _blockers(trials: Trials) -> tuple[int, ...]:
    """Places in `trials.tenants`; none if it would not fit even without all of them."""
    tenants = trials.tenants

    def mildest(index: int) -> tuple[bool, int, str]:
        return tenants[index].running, tenants[index].count, tenants[index].vm

    short = trials.seats() < trials.wish.vcpus

    def takes(index: int) -> tuple[int, int]:
        return -len(trials.spoiled[index]) if short else 0, -tenants[index].memory

    everyone = sorted(trials.concerned, key=mildest)
    if not trials.fits(everyone):
        return ()
    largest = sorted(everyone, key=takes)
    few = sorted(largest[:PAIRED], key=mildest)
    for away in (*combinations(everyone, 1), *combinations(few, 2)):
        if trials.fits(away):
            return away
    taken = largest[: next(count for count in range(len(largest) + 1) if trials.fits(largest[:count]))]
    for index in sorted(taken, key=mildest, reverse=True):
        left = [other for other in taken if other != index]
        if trials.fits(left):
            taken = left
    return tuple(sorted(taken, key=mildest))


def _nearest(trials: Trials) -> tuple[Alternative, ...]:
    """All ways to give up as few wishes as it takes."""
    changes = [*_changes(trials.topology, trials.wish)]
    for count in range(1, len(changes) + 1):
        found = [one for some in combinations(changes, count) if (one := _try(trials, some))]
        if found:
            return tuple(found)
    return ()


@dataclass(frozen=True, kw_only=True)
class _Change:
    """One wish given up: in words, as fields of `Wish`, and as an option or (starting a sentence) a key of the spec.

    Of a VM that is still to be made, the fields that go with an option are said as keys of `cpu.placement`.
    """

    words: str
    fields: Mapping[str, object]
    option: str = ""
    key: str = ""


def _changes(topology: Topology, wish: Wish) -> Iterator[_Change]:
    """The wishes that can be given up, the least first."""
    if wish.policy == "isolate":
        yield _Change(words="on cores of other VMs", fields={"policy": "compact"}, option="--policy compact")
    if wish.threads != "share":
        kind = "without a core for each vCPU" if wish.threads == "own_core" else "without whole cores"
        yield _Change(words=kind, fields={"threads": "share"}, option="--threads share")
    if wish.exclusive:
        words = "on CPUs that are not its alone"
        yield _Change(words=words, fields={"exclusive": False}, option="--no-exclusive")
    if wish.cpus is not None and not topology.online <= wish.cpus:
        words = f"on other CPUs than {show_cpus(wish.cpus)}"
        yield _Change(words=words, fields={"cpus": None}, option=f"--cpus {show_cpus(topology.online)}")
    if wish.nodes is not None and not topology.nodes.keys() <= wish.nodes:
        every = frozenset(topology.nodes)
        words = f"on other nodes than {show_cpus(wish.nodes)}"
        key, option = f"write numa: {{nodes: {show_cpus(every)}}} in its spec", f"--nodes {show_cpus(every)}"
        yield _Change(words=words, fields={"nodes": None}, **({"key": key} if wish.new else {"option": option}))
    if wish.page_size is not None:
        words = "without huge pages"
        yield _Change(words=words, fields={"page_size": None}, key="leave memory.hugepages out of its spec")
    if wish.strict:
        words = "with memory that may be anywhere"
        yield _Change(words=words, fields={"strict": False}, key="write numa: {mode: preferred} in its spec")


def _try(trials: Trials, changes: Sequence[_Change]) -> Alternative | None:
    fields: dict[str, object] = {}
    for change in changes:
        fields |= change.fields
    wish: Wish = replace(trials.wish, **fields)  # type: ignore[arg-type]
    room = trials.available
    if wish.page_size != trials.wish.page_size:
        room = available(trials.topology, trials.tenants, wish.page_size)
    placement = replace(trials, wish=wish, available=room).fits()
    if placement is None:
        return None
    options = [change for change in changes if change.option]
    keys = ", ".join(f"{name}: {str(value).lower()}" for change in options for name, value in change.fields.items())
    command = [changing(wish, " ".join(change.option for change in options), keys)] if options else []
    return Alternative(
        gives_up=" and ".join(change.words for change in changes),
        wish=wish,
        placement=placement,
        hint=" and ".join([change.key for change in changes if change.key] + command),
    )
