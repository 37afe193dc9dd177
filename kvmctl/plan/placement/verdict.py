"""What is wrong with where a VM is: sentences, each with its remedy. Pure.

A placement that kvmctl itself chose (`automatic`) was the best there was: only what others did to it since is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.placement.finding import Case, Finding, cpus, listed, nodes, verb
from kvmctl.plan.placement.trespass import floating, shared_cores, shared_cpus
from kvmctl.spec.kinds import CpuSet, show_cpus

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology

NOTICED = 0.05
"""The part of a VM's memory that may lie on other nodes without a word: QEMU itself is somewhere, too."""
EMULATOR = "the emulator"


def findings(
    topology: Topology, tenant: Tenant, others: Sequence[Tenant], memory_by_node: Mapping[int, int] | None
) -> tuple[Finding, ...]:
    """What is wrong with a VM's place. `memory_by_node` is where its memory really lies, where that is known."""
    others = [other for other in others if (other.uuid, other.vm) != (tenant.uuid, tenant.vm)]
    case = Case(topology=topology, tenant=tenant, others=others)
    return (
        *_offline(case),
        *floating(case),
        *_crowded(case),
        *shared_cpus(case),
        *shared_cores(case),
        *_split_cores(case),
        *_helpers(case),
        *_spread(case),
        *_memory(case, memory_by_node),
    )


def _offline(case: Case) -> Iterator[Finding]:
    online, tenant = case.topology.online, case.tenant
    pins = {f"vCPU {number}": pin for number, pin in tenant.vcpus.items()}
    if tenant.emulator:
        pins[EMULATOR] = tenant.emulator
    pins |= {f"iothread {number}": pin for number, pin in tenant.iothreads.items()}
    missing = {what: pin - online for what, pin in pins.items() if pin - online}
    if not missing:
        return
    lost = [what for what in missing if not pins[what] & online]
    away = frozenset().union(*missing.values())
    there = away & case.topology.cpus.keys()
    yield Finding(
        code="offline-cpus",
        what=f"{listed(list(missing))} {verb(missing, 'is', 'are')} pinned to {cpus(away)}, offline or not there"
        + (f"; {listed(lost)} {verb(lost, 'has', 'have')} no other, and so the VM cannot start" if lost else ""),
        hint=case.auto + (f", or bring back {cpus(there)}: echo 1 >{_switch(there)}" if there else ""),
        cpus=away,
    )


def _switch(numbers: CpuSet) -> str:
    name = min(numbers) if len(numbers) == 1 else "N"
    return f"/sys/devices/system/cpu/cpu{name}/online"


def _crowded(case: Case) -> Iterator[Finding]:
    plugged = [number for number in case.vcpus if number < case.tenant.count]
    if len(plugged) > len(case.cpus):
        yield Finding(
            code="vcpus-crowded",
            what=f"{len(plugged)} vCPUs are pinned to {cpus(case.cpus)}, and wait for one another",
            hint=case.auto,
            cpus=case.cpus,
        )


def _split_cores(case: Case) -> Iterator[Finding]:
    """Cores of which some threads are left over, though fewer cores would do."""
    half = frozenset(core for core in case.cores if not case.cpus.issuperset(case.topology.cores[core]))
    if len(half) > 1 and not case.tenant.automatic and not case.tenant.whole_cores:
        threads = case.threads(half)
        yield Finding(
            code="split-cores",
            what=f"its vCPUs have {len(half)} cores only in part: {show_cpus(threads & case.cpus)} of {cpus(threads)}",
            hint=f"{case.auto} gives it whole cores",
            cpus=threads,
        )


def _helpers(case: Case) -> Iterator[Finding]:
    """QEMU's other threads where they take time from vCPUs, though there is room elsewhere."""
    known, tenant, taken = case.topology.cpus, case.tenant, case.threads(case.cores)
    free = frozenset(cpu for cpu in case.topology.online - taken - case.held if not known[cpu].isolated)
    if not case.vcpus or not free:
        return
    pins: dict[str, CpuSet | None] = {"--emulator ": tenant.emulator}
    pins |= {f"--iothread {number}=": None for number in range(1, tenant.iothread_count + 1)}
    pins |= {f"--iothread {number}=": pin for number, pin in tenant.iothreads.items()}
    there = {option: taken & (pin or case.topology.online) for option, pin in pins.items()}
    wrong = [option for option, found in there.items() if found]
    if wrong:
        room = show_cpus(frozenset(cpu for cpu in free if known[cpu].node in case.nodes) or free)
        yield Finding(
            code="helpers-on-vcpu-cores",
            what=f"{listed([_helper(option) for option in wrong])} may run on the cores of its vCPUs",
            hint=f"kvmctl pin set {tenant.vm} {' '.join(option + room for option in wrong)}",
            cpus=frozenset().union(*there.values()),
        )


def _helper(option: str) -> str:
    """The thread that an option of `pin set` is about."""
    return EMULATOR if option == "--emulator " else option.strip("-=")


def _spread(case: Case) -> Iterator[Finding]:
    """More nodes or L3 caches than are needed; not where memory is on the same nodes, since that was meant."""
    tenant, count = case.tenant, len(case.vcpus)
    if tenant.automatic or not count:
        return
    known = case.topology.cpus
    online = [known[cpu] for cpu in case.topology.online]
    enough = _fewest([cpu.node for cpu in online], count)
    if len(case.nodes) > enough and tenant.memory_nodes != case.nodes:
        what = f"its vCPUs are on {nodes(case.nodes)}, where {enough} would do"
        yield Finding(code="spread-nodes", what=what, hint=case.auto, cpus=case.cpus)
        return
    caches = {known[cpu].cache for cpu in case.cpus}
    enough = max(len(case.nodes), _fewest([cpu.cache for cpu in online if cpu.node in case.nodes], count))
    if len(caches) > enough:
        what = f"its vCPUs are on {len(caches)} L3 caches, where {enough} would do"
        yield Finding(code="spread-caches", what=what, hint=case.auto, cpus=case.cpus)


def _fewest(groups: Sequence[int], count: int) -> int:
    """How few groups have so many members, given the group of each member; all of them if they have not."""
    sizes = sorted((groups.count(group) for group in set(groups)), reverse=True)
    return next((number for number in range(1, len(sizes)) if sum(sizes[:number]) >= count), len(sizes))


def _memory(case: Case, by_node: Mapping[int, int] | None) -> Iterator[Finding]:
    """Memory on nodes where no vCPU may run."""
    if not case.nodes or case.loose:
        return
    if by_node is None:
        away = case.tenant.memory_nodes - case.nodes
        what = f"its memory may be on {nodes(away)}"
    else:
        away = frozenset(node for node, size in by_node.items() if size and node not in case.nodes)
        part = sum(by_node[node] for node in away) / max(1, sum(by_node.values()))
        away = away if part > NOTICED else frozenset()
        what = f"{round(100 * part)} % of its memory is on {nodes(away)}"
    if away:
        yield Finding(
            code="remote-memory",
            what=f"{what}, its vCPUs are on {nodes(case.nodes)}",
            hint=f"kvmctl pin set {case.tenant.vm} --nodes {show_cpus(case.nodes)}",
        )
