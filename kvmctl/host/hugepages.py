"""Huge pages of a host: how many there are, who has them, and changing how many there are.

The kernel is asked through libvirt, so it works for a host on another machine as well. It may give fewer than asked
for; those are kept, and the error says how many are missing. What is in use is never taken away. Nothing here outlasts
a reboot: that is for the kernel's command line.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kvmctl.errors import HostUnreachable, Refused
from kvmctl.host.connection import connect, translated
from kvmctl.host.library import libvirt
from kvmctl.host.tenants import tenants
from kvmctl.host.topology import topology
from kvmctl.plan import hugepages
from kvmctl.spec.kinds import show_cpus, show_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvmctl.host.connection import Host
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work
    from kvmctl.plan.topology import Tenant, Topology

KIB = 1024
GUEST = """\
<domain type='qemu'><name>kvmctl-asks</name><memory unit='b'>{size}</memory>
<memoryBacking><hugepages><page size='{size}' unit='b'/></hugepages>{source}</memoryBacking>
<os><type>hvm</type></os></domain>"""
NEEDS_NO_MOUNT = "<source type='memfd'/>"


def show(target: Target, work: Work, *, size: int | None, node: int | None) -> dict[str, Any]:
    """The huge pages of a host; of one size or node only, where one is named."""
    with connect(target, timeout=work.limit, work=work) as host:
        found = topology(host)
        chosen = hugepages.sizes(found) if size is None else (hugepages.size_of(found, size),)
        hugepages.check_node(found, node)
        return _answer(host, found, tenants(host), chosen, node)


def allocate(target: Target, work: Work, *, size: int | None, node: int | None, count: int) -> dict[str, Any]:
    """Have exactly `count` huge pages: on the node named, or on all nodes together."""
    with connect(target, timeout=work.limit, work=work) as host:
        before, everyone = topology(host), tenants(host)
        chosen = hugepages.size_of(before, size)
        wanted = hugepages.wanted(before, chosen, count, node, everyone)
        was = hugepages.totals(before, chosen)
        changed = {number: pages for number, pages in wanted.items() if was[number] != pages}
        _set(host, chosen, was, changed, work)
        after = topology(host) if changed else before
        if missing := hugepages.short(host.name, after, chosen, wanted):
            raise missing
        answer = _answer(host, after, everyone, (chosen,), node)
        for row in answer["sizes"][0]["nodes"]:
            row["before"] = was[row["number"]]
        lasting = hugepages.lasting(after, chosen)
        return {**answer, "changed": bool(changed), "notes": [*answer["notes"], *lasting]}


def _set(host: Host, size: int, was: Mapping[int, int], wanted: Mapping[int, int], work: Work) -> None:
    """Ask the kernel, node by node; first for those that get fewer. Interrupted, put back what was."""
    done: list[int] = []
    try:
        for node in sorted(wanted, key=lambda node: wanted[node] - was[node]):
            work.check()
            done.append(node)
            _ask(host, size, node, wanted[node])
        work.check()
    except BaseException:
        for node in reversed(done):
            with suppress(libvirt.libvirtError):
                _ask(host, size, node, was[node])
        raise


def _ask(host: Host, size: int, node: int, pages: int) -> None:
    """Have so many pages on a node. That the kernel gave fewer is no error here: who reads the numbers sees it."""
    with translated(doing="change the number of huge pages", host=host.name):
        try:
            host.conn.allocPages({size // KIB: pages}, node, 1, libvirt.VIR_NODE_ALLOC_PAGES_SET)
        except libvirt.libvirtError as problem:
            code = problem.get_error_code()
            if code == libvirt.VIR_ERR_NO_SUPPORT:
                raise Refused("not-supported", f"{host.name} has no huge pages that could be changed") from problem
            if code == libvirt.VIR_ERR_SYSTEM_ERROR:
                raise HostUnreachable(
                    "not-authorised",
                    f"{host.name}: this libvirt has not the right to change huge pages: {problem.get_error_message()}",
                    hint="only root has: use -H qemu:///system, or sudo",
                ) from problem
            if code != libvirt.VIR_ERR_OPERATION_FAILED:
                raise


def _answer(
    host: Host, found: Topology, everyone: Sequence[Tenant], chosen: Sequence[int], node: int | None
) -> dict[str, Any]:
    sizes = [_size(host, found, everyone, size, node) for size in chosen]
    return {"name": host.name, "sizes": sizes, "notes": list(_notes(host, found, everyone, sizes))}


def _size(host: Host, found: Topology, everyone: Sequence[Tenant], size: int, node: int | None) -> dict[str, Any]:
    total, used = hugepages.totals(found, size), hugepages.in_use(found, size)
    numbers = [number for number in total if node in (None, number)]
    wish = [
        tenant
        for running in (True, False)
        for tenant in hugepages.users(everyone, size, running=running, nodes=() if node is None else (node,))
    ]
    return {
        "size": size,
        "total": sum(total[number] for number in numbers),
        "free": sum(total[number] - used[number] for number in numbers),
        "used": sum(used[number] for number in numbers),
        # To ask is slow where QEMU was never asked before, and without pages the answer is of no use.
        "mounted": _is_mounted(host, size) if any(total.values()) else None,
        "nodes": [
            {"number": number, "total": total[number], "free": total[number] - used[number], "used": used[number]}
            for number in numbers
        ],
        "vms": [
            {
                "name": tenant.vm,
                "running": tenant.running,
                "pages": hugepages.pages(tenant),
                "memory": tenant.memory,
                "memory_nodes": show_cpus(tenant.memory_nodes) or None,
            }
            for tenant in wish
        ],
    }


def _notes(
    host: Host, found: Topology, everyone: Sequence[Tenant], sizes: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """What a person should know, in sentences."""
    for each in sizes:
        if each["mounted"] is False:
            yield hugepages.not_mounted(each["size"], daemon=not host.embedded)
        for tenant in hugepages.users(everyone, each["size"], running=False):
            if (needed := hugepages.pages(tenant)) > each["free"]:
                yield (
                    f"{tenant.vm} is stopped and needs {needed} pages of {show_size(each['size'])} to start; "
                    f"{each['free']} are free"
                )
    yield from hugepages.little_left(found)


def _is_mounted(host: Host, size: int) -> bool | None:
    """Whether QEMU could have such pages by a hugetlbfs; None where that cannot be told.

    libvirt is asked for the command line of a guest that wants them, which it refuses without a hugetlbfs that it knew
    when it was started. A guest that wants them from memfd needs none: if that is refused, there is another reason.
    """

    def is_possible(source: str) -> bool:
        try:
            host.conn.domainXMLToNative("qemu-argv", GUEST.format(size=size, source=source), 0)
        except libvirt.libvirtError:
            return False
        return True

    return True if is_possible("") else False if is_possible(NEEDS_NO_MOUNT) else None
