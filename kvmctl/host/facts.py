"""Asks a host what a plan must know of it, and only what the spec at hand needs: each question is a round trip."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host.cells import Asked, topology_of
from kvmctl.host.connection import translated
from kvmctl.host.cpu import remote_flags
from kvmctl.host.library import libvirt
from kvmctl.host.machine import is_local, local_flags
from kvmctl.host.pools import DEFAULT, known_pools
from kvmctl.host.storage import default_pool, embedded_images
from kvmctl.plan.accelerator import kvm_usable
from kvmctl.plan.facts import HostFacts, Pool

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.spec.model.vm import Vm


def gather(host: Host, vm: Vm, *, change: bool) -> tuple[HostFacts, list[str]]:
    """The facts that resolving this spec needs, and what there is to tell a person.

    With `change`, the storage pool called default is made where it is missing and needed; without, it is assumed.
    """
    with translated(doing="ask the host what it offers"):
        capabilities = ElementTree.fromstring(host.conn.getCapabilities())
    kvm, reason = kvm_of(host, capabilities)
    needed = {disk.pool or DEFAULT for disk in vm.disks if disk.size or disk.image}
    pools, notes = _pools(host, needed, change=change)
    return (
        HostFacts(
            name=host.name,
            arch=capabilities.findtext("host/cpu/arch") or os.uname().machine,
            kvm=kvm,
            kvm_reason="" if kvm else reason,
            guest_archs=frozenset(arch.get("name", "") for arch in capabilities.findall("guest/arch")),
            embedded=host.embedded,
            image_directory=embedded_images(host) if host.embedded else "",
            pools=pools,
            networks=_networks(host) if any(card.network for card in vm.networks) else None if host.embedded else {},
            topology=topology_of(capabilities, Asked()),
            known=True,
        ),
        notes,
    )


def kvm_of(host: Host, capabilities: Element) -> tuple[bool, str]:
    """Whether guests can run under KVM on this host, and why or why not."""
    arch = capabilities.findtext("host/cpu/arch") or ""
    native = capabilities.findall(f"guest/arch[@name='{arch}']/domain[@type='kvm']")
    local = is_local(host.target)
    device = os.access("/dev/kvm", os.R_OK | os.W_OK) if local and os.geteuid() == 0 else None
    flags = local_flags() if local else remote_flags(host, capabilities)
    return kvm_usable(in_capabilities=bool(native), cpu_flags=flags, device=device, arch=arch)


def _pools(host: Host, needed: set[str], *, change: bool) -> tuple[dict[str, Pool] | None, list[str]]:
    if host.embedded:
        return None, []
    found: dict[str, Pool] = {}
    notes: list[str] = []
    if needed:
        with translated(doing="list storage pools"):
            found = {pool.name: pool for _, pool in known_pools(host)}
    if DEFAULT in needed and DEFAULT not in found:
        if change:
            found[DEFAULT], made = default_pool(host)
            if made:
                notes.append(f"made the storage pool '{DEFAULT}' at {found[DEFAULT].path}")
        else:
            found[DEFAULT] = HostFacts().pools[DEFAULT]  # type: ignore[index]
    return found, notes


def _networks(host: Host) -> dict[str, bool] | None:
    """libvirt's networks, and whether they are active; None where the network driver is missing."""
    if host.embedded:
        return None
    with translated(doing="list networks"):
        active = {network.name() for network in host.conn.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)}
        rest = {network.name() for network in host.conn.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_INACTIVE)}
    return {**dict.fromkeys(active, True), **dict.fromkeys(rest, False)}
