"""A new place in a definition: pins and nodes for another host, with everything else as it is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmctl.plan.placement.pins import Pins, write_pins
from kvmctl.spec.kinds import parse_cpus, show_cpus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

    from kvmctl.plan.topology import Topology


def put(domain: Element, pins: Pins, topology: Topology) -> None:
    """Have the definition say where the VM goes. The guest sees the topology it had: it is running."""
    vcpu = domain.find("vcpu")
    if vcpu is not None:
        vcpu.attrib.pop("cpuset", None)
    cells = domain.findall("numatune/memnode")
    write_pins(domain, pins)
    home = {number: cpu.node for number, cpu in topology.cpus.items()}
    guests = {cell.get("id", str(number)): cell for number, cell in enumerate(domain.findall("cpu/numa/cell"))}
    for cell in cells:
        guest = guests.get(cell.get("cellid", ""))
        vcpus = parse_cpus(guest.get("cpus", "")) if guest is not None and guest.get("cpus") else frozenset()
        near = _most([home[cpu] for vcpu in vcpus for cpu in (pins.vcpus or {}).get(vcpu, ()) if cpu in home])
        nodes = frozenset({near}) if near is not None else pins.nodes
        if nodes:
            cell.set("nodeset", show_cpus(nodes))


def _most(nodes: list[int]) -> int | None:
    """The node that comes most often, the lowest of several."""
    counts: Mapping[int, int] = {node: nodes.count(node) for node in nodes}
    return min(counts, key=lambda node: (-counts[node], node), default=None)
