"""Decides what a spec leaves to hosts and `plan/resolve.py` cannot know: a CPU that several hosts share, a place.

Asks a host only for what the spec at hand needs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from kvmctl.host.baseline import baseline, hosts_of_spec
from kvmctl.host.pci.assigning import settle
from kvmctl.host.placing import propose
from kvmctl.host.rights import rights
from kvmctl.host.scsi.assigning import settle as settle_scsi
from kvmctl.host.tenants import tenants
from kvmctl.host.topology import topology
from kvmctl.host.usb import assigning as usb
from kvmctl.plan.pci.choose import has_devices
from kvmctl.plan.pci.guest_node import settled
from kvmctl.plan.placement.request import concerns_place, wants_place
from kvmctl.plan.possible import check_possible, overcommitted
from kvmctl.spec.declare import write
from kvmctl.spec.model import scsi
from kvmctl.spec.model.vcpus import Baseline
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.xmltext import parse_raw

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.facts import HostFacts
    from kvmctl.plan.pci.facts import Mdev
    from kvmctl.plan.pci.identity import Identity


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A spec without questions to hosts; what there is to say of the answers; whether it has CPUs of its own.

    `devices` of the host that it has, as they are to be known again; `picked` are those that may be others as well;
    `mdevs` are to be made first.
    """

    vm: Vm
    sentences: tuple[str, ...] = ()
    placed: bool = False
    devices: tuple[Identity, ...] = ()
    mdevs: tuple[Mdev, ...] = ()
    picked: frozenset[str] = frozenset()


def decide(
    host: Host, vm: Vm, work: Work, facts: HostFacts, *, forced: Collection[str] = (), start: bool = False
) -> Decided:
    """Ask, and put the answers into the spec. Raises Refused where a host cannot give what is asked for.

    `forced` are devices that it may have even if the host needs them; with `start` it is to start at once.
    """
    told: tuple[str, ...] = ()
    if vm.usb:
        vm, told = usb.settle(host, vm, forced=forced, start=start)
    raw = parse_raw(vm.raw_xml) if vm.raw_xml else None
    kept: tuple[Identity, ...] = ()
    if vm.scsi or (raw is not None and any(scsi.given(raw))):
        units = settle_scsi(host, vm, raw, forced=forced, start=start)
        vm, kept, told = units.vm, units.devices, (*told, *units.sentences)
    if not has_devices(vm):
        decided = _decide(host, vm, work, facts)
        return replace(decided, sentences=(*told, *decided.sentences), devices=kept)
    found = settle(host, vm, forced=forced, start=start)
    decided = _decide(host, found.vm, work, facts)
    vm, apart = settled(decided.vm, found.homes)
    sentences = (*told, *found.sentences, *decided.sentences, *apart)
    return replace(
        decided,
        vm=vm,
        sentences=sentences,
        devices=(*found.identities, *kept),
        mdevs=found.mdevs,
        picked=found.picked,
    )


def _decide(host: Host, vm: Vm, work: Work, facts: HostFacts) -> Decided:
    cpu = vm.cpu
    if cpu is not None and isinstance(cpu.model, Baseline):
        shared = baseline(hosts_of_spec(cpu.model.baseline), work, arch=vm.arch, accelerator=_accelerator(vm))
        vm = replace(vm, cpu=replace(cpu, model=shared.model, features={**shared.features, **(cpu.features or {})}))
    if not concerns_place(vm):
        return Decided(vm=vm, sentences=overcommitted(vm, facts.topology))
    sentences: tuple[str, ...] = ()
    if wants_place(vm):
        plan = propose(host, vm, document=_devices(vm))
        vm, sentences = plan.vm, tuple(f"{vm.name}: {sentence}" for sentence in plan.sentences)
    allowed = rights(host.target)
    notes = check_possible(
        vm,
        topology(host),
        tenants(host),
        host=host.name,
        privileged=allowed.privileged,
        cgroups=None if allowed.cgroups is None else bool(allowed.cgroups),
    )
    return Decided(vm=vm, sentences=(*sentences, *notes), placed=True)


def _devices(vm: Vm) -> Element | None:
    """A domain with the devices that the VM has, which it may be wished near to."""
    domain = parse_raw(vm.raw_xml) if vm.raw_xml else None
    if has_devices(vm):
        domain = Element("domain") if domain is None else domain
        cards, disks = (card for card in vm.networks if card.hostdev), (disk for disk in vm.disks if disk.nvme)
        write(Vm(pci=vm.pci, networks=tuple(cards), disks=tuple(disks)), domain)
    return domain


def _accelerator(vm: Vm) -> str | None:
    return vm.accelerator if vm.accelerator in ("kvm", "tcg") else None
