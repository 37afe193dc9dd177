"""Asks a host for its processors, memory and PCI devices.

Everything is asked of libvirt, so it is true of a host on another machine as well; which CPUs are isolated, and where
those are that are offline, only this machine's kernel tells. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host import cells, machine
from kvmctl.host.connection import or_nothing, translated
from kvmctl.host.devices import device_node
from kvmctl.host.devices import devices as devices_of_host

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.plan.topology import Topology

__all__ = ["device_node", "topology"]


def topology(host: Host, *, devices: bool = False) -> Topology:
    """Processors and memory of the host; with `devices` also its PCI devices, which costs a question for each."""
    with translated(doing="ask the host what it is made of", host=host.name):
        capabilities = ElementTree.fromstring(host.conn.getCapabilities())
    numbers = cells.node_numbers(capabilities)
    sizes = cells.page_sizes(capabilities)
    online: Sequence[bool] = or_nothing(lambda: host.conn.getCPUMap(0)[1], ())
    here = machine.is_here(host.target)
    found = cells.topology_of(
        capabilities,
        cells.Asked(
            online=online,
            isolated=machine.isolated_cpus() if here else None,
            free=_free(host, numbers),
            free_pages=_free_pages(host, numbers, sizes),
            homes=machine.nodes_of_cpus(number for number, there in enumerate(online) if not there) if here else {},
        ),
    )
    return replace(found, devices=devices_of_host(host)) if devices else found


def _free(host: Host, numbers: Sequence[int]) -> dict[int, int]:
    """Free bytes by node. One question, or one for each node where their numbers have holes and libvirt minds."""
    if not numbers:
        return {}
    first, count = min(numbers), max(numbers) - min(numbers) + 1
    sizes: Sequence[int] = or_nothing(lambda: host.conn.getCellsFreeMemory(first, count), ())
    if len(sizes) == count:
        return dict(zip(range(first, first + count), sizes))
    found: dict[int, int] = {}
    for number in numbers:
        found |= zip((number,), or_nothing(partial(host.conn.getCellsFreeMemory, number, 1), ()))
    return found


def _free_pages(host: Host, numbers: Sequence[int], sizes: Sequence[int]) -> dict[int, dict[int, int]]:
    """Free huge pages by node and size, asked in the same way."""
    if not numbers or not sizes:
        return {}
    units = [size // 1024 for size in sizes]
    first, count = min(numbers), max(numbers) - min(numbers) + 1
    found: dict[int, dict[int, int]] = or_nothing(lambda: host.conn.getFreePages(units, first, count), {})
    for number in set(numbers) - found.keys():
        found |= or_nothing(partial(host.conn.getFreePages, units, number, 1), {})
    return {node: {size * 1024: free for size, free in pages.items()} for node, pages in found.items()}
