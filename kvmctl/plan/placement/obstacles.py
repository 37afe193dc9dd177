"""What `unfit.py` has found, in sentences and commands: what is wanted, what is left, and who has the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.check_facts import size
from kvmctl.plan.placement.finding import cpus as cpus_of
from kvmctl.plan.placement.finding import listed
from kvmctl.plan.placement.finding import nodes as nodes_of
from kvmctl.plan.placement.ground import held_by
from kvmctl.plan.placement.trespass import name_of
from kvmctl.plan.placement.trials import counted
from kvmctl.spec.kinds import show_cpus, show_size

if TYPE_CHECKING:
    from kvmctl.plan.placement.trials import Trials
    from kvmctl.plan.placement.wish import Wish


FEW = 2
"""No more VMs than this are touched by a command that is proposed."""
MANY = 9
"""Of so many VMs each is named."""


def sentences_of(trials: Trials, blockers: Sequence[int], vcpus: int, memory: int) -> Iterator[str]:
    """First what is short. `vcpus` and `memory` are how much would fit."""
    wish = trials.wish
    if vcpus < wish.vcpus:
        yield _cpus(trials, blockers, vcpus)
    if memory < wish.memory:
        yield _memory(trials, blockers)
    if blockers:
        names = listed([name_of(trials.tenants[index]) for index in blockers], most=MANY)
        yield f"it would fit without {names}"
    else:
        yield "it would not fit without any other VM either"
    if vcpus and memory == wish.memory:
        yield f"as wished, {_vcpus(vcpus)} would fit"
    elif memory and vcpus == wish.vcpus:
        yield f"as wished, {show_size(memory)} of memory would fit"


def hints_of(trials: Trials, blockers: Sequence[int]) -> Iterator[str]:
    """What can be done about others."""
    wish, found = trials.wish, [trials.tenants[index] for index in blockers]
    running = [tenant.vm for tenant in found if tenant.running]
    ignoring = changing(wish, "--stopped ignore", "stopped: ignore")
    enough = not trials.rigid or trials.memory() >= wish.memory
    if found and not running:
        yield ignoring
    elif enough and 0 < len(found) <= FEW:
        yield " and ".join(f"kvmctl pin clear {tenant.vm}" for tenant in found)
    elif found and not enough:
        yield f"kvmctl stop {' '.join(running)} and {ignoring}"
    if wish.page_size and not enough:
        yield f"kvmctl host hugepages {_pages(trials, wish.page_size)}"


def changing(wish: Wish, options: str, keys: str) -> str:
    """How to wish something else: a command, or for a VM that is still to be made its spec."""
    return f"write cpu: {{placement: {{{keys}}}}} in its spec" if wish.new else f"kvmctl pin auto {wish.vm} {options}"


def _pages(trials: Trials, page_size: int) -> str:
    """Options that give as many huge pages as it takes."""
    pools = {node: pools.pages.get(page_size) for node, pools in trials.topology.nodes.items()}
    nodes = trials.wish.nodes or frozenset(pools)
    missing = -(-(trials.wish.memory - trials.memory()) // page_size)
    count = missing + sum(pool.total for node, pool in pools.items() if pool and node in nodes)
    where = f" --node {min(nodes)}" if len(nodes) == 1 < len(pools) else ""
    number = f" --count {count}" if where or nodes >= pools.keys() else ""
    return f"--size {show_size(page_size)}{where}{number}"


def _cpus(trials: Trials, blockers: Sequence[int], vcpus: int) -> str:
    wish = trials.wish
    wanted = f"{_vcpus(wish.vcpus)} {'wants' if wish.vcpus == 1 else 'want'} {_kind(wish)}{_where(wish)}"
    holders = [
        _holder(trials, index) for index in _first(range(len(trials.tenants)), blockers) if trials.spoiled[index]
    ]
    many = vcpus or "none"
    if not holders:
        return f"{wanted}; the host has {'room for ' if wish.threads == 'siblings' else ''}{many}"
    if wish.threads == "siblings":
        return f"{wanted}; there is room for {many}: {listed(holders)}"
    return f"{wanted}; {many} {'are' if vcpus > 1 else 'is'} left: {listed(holders)}"


def _first(every: Iterable[int], some: Sequence[int]) -> list[int]:
    return sorted(every, key=lambda index: index not in some)


def _vcpus(number: int) -> str:
    return f"{number} {'vCPU' if number == 1 else 'vCPUs'}"


def _kind(wish: Wish) -> str:
    """What the vCPUs want."""
    one = wish.vcpus == 1
    if wish.threads == "siblings":
        return "whole cores without other VMs"
    if wish.threads == "own_core":
        own = "a core" if one else "a core each"
        return f"{own} for this VM alone" if wish.exclusive else f"{own} without other VMs"
    if wish.policy == "isolate":
        return "cores without other VMs"
    if wish.exclusive:
        return "a CPU of its own" if one else "CPUs of their own"
    return "a CPU" if one else "a CPU each"


def _where(wish: Wish) -> str:
    among = f" among {cpus_of(wish.cpus)}" if wish.cpus is not None else ""
    return among + (f" on {nodes_of(wish.nodes)}" if wish.nodes is not None else "")


def _holder(trials: Trials, index: int) -> str:
    tenant = trials.tenants[index]
    held = held_by(trials.topology, (tenant,)) & trials.empty
    if held:
        return f"{name_of(tenant)} holds {show_cpus(held)}"
    return f"{name_of(tenant)} is on {show_cpus(counted(tenant))}"


def _memory(trials: Trials, blockers: Sequence[int]) -> str:
    wish, room = trials.wish, trials.room()
    pages = f" in pages of {size(wish.page_size)}" if wish.page_size else ""
    said = f"{size(wish.memory)} of memory{pages} is wanted{_where(wish)}"
    nodes = sorted(room if wish.nodes is None else wish.nodes & room.keys())
    left = listed([f"{size(room[node])} on node {node}" for node in nodes if room[node]])
    said += f", {size(wish.memory - trials.memory())} more than is left: {left}" if left else "; none is left"
    holders = [
        f"{name_of(trials.tenants[index])} has {size(trials.tenants[index].memory)}"
        for index in _first(trials.concerned, blockers)
        if trials.holds_memory(index)
    ]
    return f"{said}; {listed(holders)}" if holders else said
