"""A guest whose topology follows its place (`cpu.topology: auto`), when the place is another. Pure.

That it is to follow is known from the spec that is kept with the VM; NUMA nodes that the spec itself gives the guest
are left alone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmctl.errors import SpecError
from kvmctl.plan.tuning import in_full
from kvmctl.spec.declare import read, write
from kvmctl.spec.metadata import SPEC, VM
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.tuning import AUTO
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import plain, read_nodes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def follows(domain: Element) -> bool:
    """Whether the guest's topology is to be that of its place."""
    given = None
    with suppress(SpecError):
        given = plain(read_nodes(domain.findtext(f"metadata/{VM}/{SPEC}", "").encode(), "its spec"))
    if not isinstance(given, dict):
        return False
    cpu, numa = (part if isinstance(part, dict) else {} for part in (given.get("cpu"), given.get("numa")))
    return cpu.get("topology") == AUTO and not numa.get("cells")


def loosened(vm: Vm) -> Vm:
    """The VM with its topology left open."""
    return replace(
        vm,
        cpu=replace(vm.cpu or Cpu(), topology=AUTO),
        numa=vm.numa and replace(vm.numa, cells=()),
    )


def write_topology(domain: Element, vm: Vm) -> None:
    """Have a definition say of the guest's topology and of its memory's nodes what `vm` does."""
    known, wanted = read(Vm, domain), in_full(vm)
    write(
        replace(known, numa=wanted.numa, cpu=replace(known.cpu or Cpu(), topology=wanted.cpu and wanted.cpu.topology)),
        domain,
    )
