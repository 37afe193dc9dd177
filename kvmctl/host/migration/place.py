"""A VM whose place kvmctl chose gets one chosen on the host that it moves to, by the same planner.

Pins made by hand go along as they are; whether they can hold there is looked at before (`look`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.errors import KvmctlError
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.migration.copying import MOVING
from kvmctl.host.moving import refit_others
from kvmctl.host.placing import check_alone, propose
from kvmctl.host.tenants import tenant_of
from kvmctl.plan.migration.place import put
from kvmctl.plan.placement.pins import Pins
from kvmctl.plan.tuning import open_again
from kvmctl.spec.declare import read
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.xmltext import parse, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmctl.host.connection import Host
    from kvmctl.host.migration.copying import Prepared
    from kvmctl.plan.migration.looked import Looked


@dataclass(frozen=True, kw_only=True)
class Anew:
    """Definitions with the place that was chosen. `persistent` is that of the next boot of a VM that runs."""

    live: str
    persistent: str | None = None


def is_pinned(domain: libvirt.virDomain) -> bool:
    """Whether others may have to make room for it."""
    with translated(vm=domain.name(), doing="look where it is pinned"):
        tenant = tenant_of(parse(domain.XMLDesc(0)), running=True)
    return bool(tenant.vcpus)


def anew(there: Host, domain: libvirt.virDomain, looked: Looked, prepared: Prepared) -> Anew | None:
    """Choose a place on the target; None for a VM that is not kvmctl's to place. Raises Refused where there is none."""
    inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
    with translated(vm=domain.name(), doing="read its definition"):
        live = prepared.target_xml or domain.XMLDesc(MOVING | (0 if looked.running else inactive))
        if not _is_automatic(live):
            return None
        later = prepared.persistent_xml
        if later is None and looked.running and looked.persistent:
            later = domain.XMLDesc(MOVING | inactive)
    put_in = planned(there, live)
    return Anew(live=put_in(live), persistent=put_in(later) if later else None)


def planned(there: Host, text: str) -> Callable[[str], str]:
    """What puts the place chosen for a VM into its definitions. Raises Refused where there is none."""
    document = parse(text)
    plan = propose(there, open_again(read(Vm, document)), document=document, uuid=document.findtext("uuid"))
    cpu = plan.vm.cpu
    assert cpu is not None and isinstance(cpu.pin, dict)
    pins = Pins(
        vcpus=cpu.pin,
        emulator=cpu.emulator_pin,
        iothreads=cpu.iothread_pin,
        nodes=frozenset(plan.placement.memory) or None,
    )

    def placed(text: str) -> str:
        domain = parse(text)
        put(domain, pins, plan.topology)
        return render(domain)

    return placed


def _is_automatic(text: str) -> bool:
    return tenant_of(parse(text), running=True).automatic


def make_room(here: Host, there: Host, uuid: str) -> tuple[str, ...]:
    """After the move of a pinned VM: others make room there and spread out here. Sentences of what was done.

    The VM has moved whatever happens here, so nothing is raised.
    """
    said: list[str] = []
    for host in (there, here):
        try:
            said += refit_others(host, but=uuid)
            if host is there:
                check_alone(there, uuid)
        except KvmctlError as problem:
            said.append("; ".join(filter(None, (problem.message, problem.hint))))
    return tuple(said)
