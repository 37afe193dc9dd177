"""Plans where a VM goes and puts it there, against others who may plan at the same time.

There is no lock that all who speak to a libvirt host would share. So a placement is written into the VM's definition
first, and then everyone's pins are read again: of two who took the same CPU at least one sees the other, gives up what
it took, waits for a random moment and plans anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from kvmctl.errors import Conflict, Refused
from kvmctl.host.devices import device_node
from kvmctl.host.tenants import tenants
from kvmctl.host.topology import topology
from kvmctl.plan.placement.ground import held_by
from kvmctl.plan.placement.memory import available
from kvmctl.plan.placement.reason import reason
from kvmctl.plan.placement.request import ignores_stopped, settled, wish_of
from kvmctl.plan.placement.solver import place
from kvmctl.plan.placement.unfit import why
from kvmctl.plan.topology import Tenant
from kvmctl.spec.kinds import show_cpus
from kvmctl.spec.model.tuning import Wishes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.placement.wish import Placement, Wish
    from kvmctl.plan.topology import Topology
    from kvmctl.spec.model.vm import Vm

Answer = TypeVar("Answer")
TAKEN = "cpus-taken"
ATTEMPTS = 10
PAUSE = 1.0
"""Seconds within which the random moment lies."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where a VM would go, all that this was decided from, and the spec that says so."""

    wish: Wish
    topology: Topology
    others: Sequence[Tenant]
    placement: Placement
    sentences: tuple[str, ...]
    vm: Vm

    @property
    def tenant(self) -> Tenant:
        """The VM as it will be."""
        placement = self.placement
        return Tenant(
            vm=self.wish.vm,
            count=self.wish.vcpus,
            vcpus={number: frozenset({cpu}) for number, cpu in enumerate(placement.vcpus)},
            emulator=placement.helpers,
            exclusive=self.wish.exclusive,
            whole_cores=self.wish.exclusive and self.wish.threads == "own_core",
            automatic=True,
            memory=self.wish.memory,
            page_size=self.wish.page_size,
            memory_nodes=frozenset(placement.memory),
        )


def propose(
    host: Host,
    vm: Vm,
    *,
    document: Element | None = None,
    uuid: str | None = None,
    cpus: frozenset[int] | None = None,
    nodes: frozenset[int] | None = None,
) -> Plan:
    """The best place for a VM beside the others of the host. Raises Refused where there is none.

    `document` is the domain XML in which its devices are; `uuid` is the VM's own, if it exists. `cpus` and `nodes` are
    all that it may have this time, where bounded.
    """
    ground = topology(host)
    wishes = (vm.cpu and vm.cpu.placement) or Wishes()
    others = [
        tenant.on(ground)
        for tenant in tenants(host)
        if tenant.uuid != uuid and (tenant.running or not ignores_stopped(vm))
    ]
    near = dict(_near(host, wishes.near, document))
    known = [node for node in near.values() if node is not None]
    wish = wish_of(vm, near=known, cpus=cpus, nodes=nodes, new=uuid is None)
    room = available(ground, others, wish.page_size)
    placement = place(ground, others, wish, room)
    if placement is None:
        unfit = why(ground, others, wish, room)
        raise Refused(
            "nothing-fits",
            f"{host.name} has no place for it: {unfit.sentences[0]}",
            hint="; or ".join(unfit.hints),
            details=unfit.sentences[1:],
            vm=wish.vm,
        )
    devices: dict[int, list[str]] = {}
    for name, node in near.items():
        if node is not None:
            devices.setdefault(node, []).append(name)
    made = settled(vm, ground, placement)
    return Plan(
        wish=wish,
        topology=ground,
        others=others,
        placement=placement,
        sentences=(*reason(ground, others, wish, placement, devices=devices), *made.sentences),
        vm=made.vm,
    )


def _near(host: Host, names: Sequence[str], document: Element | None) -> Iterator[tuple[str, int | None]]:
    """The devices to be near to, with their nodes. `pci` stands for all that the document assigns to the VM."""
    for name in names:
        assigned = assigned_devices(document) if name == "pci" and document is not None else ()
        for device in assigned if name == "pci" else (name,):
            yield device, device_node(host, device)[1]


def assigned_devices(domain: Element) -> Iterator[str]:
    """The addresses of the host's PCI devices that a domain has."""
    for address in domain.iterfind("devices/*/source/address[@slot]"):
        parts = [int(address.get(name, "0"), 16) for name in ("domain", "bus", "slot", "function")]
        yield "{:04x}:{:02x}:{:02x}.{:x}".format(*parts)


def retried(work: Work, attempt: Callable[[], Answer]) -> Answer:
    """Try again while others take the CPUs or devices that were planned for."""
    for _ in range(ATTEMPTS - 1):
        work.check()
        try:
            return attempt()
        except Conflict as problem:
            if problem.code not in (TAKEN, "devices-taken"):
                raise
        time.sleep(random.uniform(0, PAUSE))
    return attempt()


def check_alone(host: Host, uuid: str, *, running: bool = False, new: bool = False) -> None:
    """Raise Conflict if a VM has CPUs that are another's alone, or another has its own.

    `running`: if that one runs. `new`: the VM is being made, and gone if this is raised.
    """
    ground = topology(host)
    everyone = [tenant.on(ground) for tenant in tenants(host)]
    own = next((tenant for tenant in everyone if tenant.uuid == uuid), None)
    if own is None:
        return
    for other in everyone:
        if other.uuid == uuid or (running and not other.running):
            continue
        common = (held_by(ground, [own]) & other.pinned) | (held_by(ground, [other]) & own.pinned)
        if common:
            whose = other.vm if other.exclusive else own.vm
            raise Conflict(
                TAKEN,
                f"CPUs {show_cpus(common)} are {whose}'s alone, and {other.vm} and {own.vm} are both pinned to them",
                hint="create it again; kvmctl host topology shows whose CPUs are whose"
                if new
                else f"kvmctl pin auto {own.vm}",
                vm=own.vm,
            )
