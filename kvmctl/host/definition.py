"""The definition of a VM as libvirt has it: its XML, live or for the next boot, and the spec that says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.host.connection import translated
from kvmctl.host.domains import find, summary
from kvmctl.host.facts import gather
from kvmctl.host.library import libvirt
from kvmctl.host.settling import decide
from kvmctl.plan.export import export
from kvmctl.plan.resolve import definition
from kvmctl.plan.shorten import shorten
from kvmctl.spec.plainly import to_plain
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.spec.model.vm import Vm


def described(host: Host, name: str, *, next_boot: bool = False) -> dict[str, Any]:
    """The VM's XML as libvirt gives it, without secrets: the live one of a running VM unless `next_boot`."""
    domain = find(host, name)
    with translated(vm=name, doing="read its definition"):
        text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if next_boot else 0)
    return {**summary(host, domain), "xml": text}


def foreseen(host: Host, vm: Vm, work: Work) -> dict[str, Any]:
    """The XML that a spec would make on this host."""
    facts, _ = gather(host, vm, change=False)
    return {"name": vm.name, "xml": definition(decide(host, vm, work, facts).vm, facts)}


def exported(host: Host, name: str, *, short: bool = False) -> dict[str, Any]:
    """The VM's spec, as plain data in the order of the language."""
    domain = find(host, name)
    with translated(vm=name, doing="read its definition"):
        text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        autostart = bool(domain.isPersistent() and domain.autostart())
    vm = export(parse(text), autostart=autostart)
    spec: dict[str, Any] = to_plain(shorten(vm) if short else vm)
    return spec
