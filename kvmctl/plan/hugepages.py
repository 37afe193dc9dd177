"""Huge pages of a host: which size is meant, how many go to which node, and what speaks against it. Pure.

The kernel's own way to spread pages over nodes takes them where it finds them; here they are spread evenly, and a node
keeps what is in use there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kvmctl.errors import NotFound, Refused, UsageError
from kvmctl.spec.kinds import show_cpus, show_size

if TYPE_CHECKING:
    from kvmctl.plan.topology import Tenant, Topology

Counts = Mapping[int, int]
"""How many pages each node has, or is to have."""

LITTLE_MEMORY = 512 * 2**20
"""A host with less memory than this for all but huge pages is hardly usable."""
KERNEL_UNITS = {"GiB": "G", "MiB": "M", "KiB": "K"}


def sizes(topology: Topology) -> tuple[int, ...]:
    """The sizes of huge pages that the host offers."""
    return tuple(sorted({size for node in topology.nodes.values() for size in node.pages}))


def size_of(topology: Topology, asked: int | None) -> int:
    """The size that is meant: the one asked for, or the only one that is offered, or the only one that is used."""
    offered = sizes(topology)
    said = " and ".join(map(show_size, offered)) or "none at all"
    if asked is not None and asked in offered:
        return asked
    if asked is not None or not offered:
        what = f"huge pages of {show_size(asked)}" if asked else "huge pages"
        raise Refused(
            "not-supported",
            f"the host offers no {what}; its processor and kernel offer {said}",
            hint="--size 2MiB is what most processors have; 1GiB needs the CPU flag pdpe1gb" if asked else "",
        )
    used = [size for size in offered if any(totals(topology, size).values())]
    for found in (offered, used):
        if len(found) == 1:
            return found[0]
    raise UsageError("usage", f"which size? The host offers {said}", hint=f"give --size {show_size(offered[0])}")


def totals(topology: Topology, size: int) -> dict[int, int]:
    """How many pages of the size each node has, used or not."""
    return {number: node.pages[size].total for number, node in topology.nodes.items() if size in node.pages}


def in_use(topology: Topology, size: int) -> dict[int, int]:
    """How many of them somebody uses."""
    pools = {number: node.pages[size] for number, node in topology.nodes.items() if size in node.pages}
    return {number: max(0, pool.total - pool.free) for number, pool in pools.items()}


def check_node(topology: Topology, node: int | None) -> None:
    """Raise if the host does not have the node."""
    if node is not None and node not in topology.nodes:
        raise NotFound(
            "node-not-found", f"the host has no NUMA node {node}; it has {show_cpus(frozenset(topology.nodes))}"
        )


def wanted(topology: Topology, size: int, count: int, node: int | None, tenants: Sequence[Tenant]) -> dict[int, int]:
    """How many pages of the size each node named is to have. Without `node`, `count` is spread over all nodes."""
    now, used = totals(topology, size), in_use(topology, size)
    check_node(topology, node)
    chosen = [number for number in sorted(now) if node in (None, number)]
    room = {number: topology.nodes[number].memory // size for number in chosen}
    if count > sum(room.values()):
        where = _where(chosen, topology)
        memory = sum(topology.nodes[number].memory for number in chosen)
        raise Refused(
            "resource-missing",
            f"{count} pages of {show_size(size)} do not fit into the memory {where}, {memory // 2**20}MiB",
            hint=f"at most {sum(room.values())} have room there, and then nothing else has",
        )
    floor = {number: used[number] for number in chosen}
    if count < sum(floor.values()):
        raise _in_use(topology, size, floor, tenants)
    return _spread(count, floor, {number: max(room[number], floor[number]) for number in chosen})


def users(tenants: Iterable[Tenant], size: int, *, running: bool, nodes: Iterable[int] = ()) -> Iterator[Tenant]:
    """The VMs that have, or when started would have, pages of the size; with `nodes`, perhaps on one of these."""
    within = frozenset(nodes)
    for tenant in tenants:
        near = not within or not tenant.memory_nodes or within & tenant.memory_nodes
        if tenant.page_size == size and tenant.running == running and near:
            yield tenant


def pages(tenant: Tenant) -> int:
    """How many huge pages the memory of a VM takes."""
    return -(-tenant.memory // tenant.page_size) if tenant.page_size else 0


def boot_words(size: int, counts: Counts) -> str:
    """What the kernel's command line must say for these pages to be there after every boot.

    The kernel spreads a plain number evenly; numbers by node need Linux 5.16.
    """
    unit = next(letter for name, letter in KERNEL_UNITS.items() if show_size(size).endswith(name))
    number = str(sum(counts.values()))
    if len(set(counts.values())) > 1:
        number = ",".join(f"{node}:{count}" for node, count in sorted(counts.items()) if count)
    return f"hugepagesz={show_size(size)[:-3]}{unit} hugepages={number}"


def lasting(topology: Topology, size: int) -> Iterator[str]:
    """How to have the pages again after a reboot; nothing where there are none."""
    now = totals(topology, size)
    if any(now.values()):
        words = boot_words(size, now)
        yield (
            f"a reboot takes them away; to have them after every boot put '{words}' on the kernel's command line, "
            "in GRUB_CMDLINE_LINUX of /etc/default/grub for example"
        )


def not_mounted(size: int, *, daemon: bool) -> str:
    """What to say of pages that guests cannot use as they are."""
    number, unit = show_size(size)[:-3], show_size(size)[-3]
    place = "/dev/hugepages" if unit == "M" else f"/dev/hugepages{number}{unit}"
    then = ", and restart libvirtd or virtqemud" * daemon
    return (
        f"libvirt has no hugetlbfs of {show_size(size)} pages, which VMs need unless their memory says source: memfd; "
        f"on the host: mkdir -p {place} && mount -t hugetlbfs -o pagesize={number}{unit} hugetlbfs {place}{then}"
    )


def ordinary(topology: Topology) -> dict[int, int]:
    """Bytes of memory by node that are in no huge page."""
    return {
        number: node.memory - sum(size * pool.total for size, pool in node.pages.items())
        for number, node in topology.nodes.items()
    }


def little_left(topology: Topology) -> Iterator[str]:
    """A warning where huge pages leave hardly any memory for the rest."""
    left = sum(ordinary(topology).values())
    huge = any(pool.total for node in topology.nodes.values() for pool in node.pages.values())
    if huge and left < LITTLE_MEMORY:
        yield f"only {left // 2**20}MiB of the host's memory are not in huge pages, and the host itself uses no other"


def short(host: str, topology: Topology, size: int, asked: Counts) -> Refused | None:
    """The error for pages that the kernel was asked for and could not give; None if all are there."""
    now = totals(topology, size)
    missing = {number: count for number, count in asked.items() if now.get(number, 0) < count}
    if not missing:
        return None
    words = boot_words(size, {**now, **asked})
    got = sum(now.get(number, 0) for number in missing)
    return Refused(
        "hugepages-short",
        f"{host} has {got} of the {sum(missing.values())} huge pages of {show_size(size)} asked for "
        f"{_where(missing, topology)}: its free memory is too little, or in too small pieces",
        hint=f"at boot memory is in one piece: put '{words}' on the kernel's command line, and reboot",
        details=["those are kept; free memory, by stopping VMs for example, and run it again for more"] * bool(got),
    )


def _in_use(topology: Topology, size: int, floor: Counts, tenants: Sequence[Tenant]) -> Refused:
    busy = [number for number, used in floor.items() if used]
    holders = list(users(tenants, size, running=True, nodes=busy))
    names = ", ".join(tenant.vm for tenant in holders)
    stop = " ".join(tenant.vm for tenant in holders)
    return Refused(
        "hugepages-in-use",
        f"{sum(floor.values())} huge pages of {show_size(size)} are in use {_where(busy, topology)}, "
        f"by {names or 'something that is no VM of this host'}; those stay",
        hint=f"kvmctl stop {stop}, or leave that many" if stop else "leave that many: --count is all there are to be",
        details=[f"  {tenant.vm}: {pages(tenant)}" for tenant in holders],
    )


def _where(nodes: Iterable[int], topology: Topology) -> str:
    chosen = sorted(nodes)
    if len(topology.nodes) == 1:
        return "on the host"
    return f"on node{'s' * (len(chosen) > 1)} {show_cpus(frozenset(chosen))}"


def _spread(count: int, floor: Counts, room: Counts) -> dict[int, int]:
    """`count` as evenly as the floor and the room of each node let it be; what is left goes to the lowest nodes."""

    def filled(level: int) -> dict[int, int]:
        return {number: min(room[number], max(floor[number], level)) for number in floor}

    low, high = 0, max(room.values(), default=0)
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if sum(filled(level).values()) <= count else (low, level - 1)
    found, above = filled(low), filled(low + 1)
    for number in sorted(found):
        if sum(found.values()) < count:
            found[number] = above[number]
    return found
