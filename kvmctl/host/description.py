"""A host in full, as libvirt describes it: versions, CPUs, memory, what guests can have, networks and pools."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kvmctl import __version__
from kvmctl.host import offers
from kvmctl.host.connection import connect, translated
from kvmctl.host.domains import all_states
from kvmctl.host.facts import kvm_of
from kvmctl.host.library import libvirt
from kvmctl.plan.check_facts import Service, version

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work

QUIET_STATES = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_NOSTATE)


def glance(target: Target, work: Work) -> dict[str, Any]:
    """What a list of hosts shows of one that answers."""
    with connect(target, timeout=work.limit, readonly=True, work=work) as host:
        found = offers.hypervisor_version(host)
        return {
            "name": target.name,
            "uri": target.uri,
            "state": "reachable",
            "error": None,
            "hypervisor": _name_and_version(host.conn.getType(), found),
            "libvirt": version(host.conn.getLibVersion()),
            **_vms(host),
        }


def out_of_reach(target: Target, error: str) -> dict[str, Any]:
    """The same of one that does not answer."""
    unknown = dict.fromkeys(("hypervisor", "libvirt", "vms_running", "vms_total"))
    error = error.removeprefix(f"{target.name}: ")
    return {"name": target.name, "uri": target.uri, "state": "unreachable", "error": error, **unknown}


def describe(target: Target, work: Work) -> dict[str, Any]:
    """All that `host show` shows."""
    with connect(target, timeout=work.limit, work=work) as host:
        with translated(doing="ask the host what it offers", host=host.name):
            capabilities = ElementTree.fromstring(host.conn.getCapabilities())
            name, kind = host.conn.getHostname(), host.conn.getType()
            number = host.conn.getLibVersion()
        arch = capabilities.findtext("host/cpu/arch")
        kvm, reason = kvm_of(host, capabilities)
        found = offers.hypervisor_version(host)
        firmware = offers.firmware_and_tpm(host, capabilities)
        total, free = offers.memory(host)
        return {
            "name": target.name,
            "uri": target.uri,
            "hostname": name,
            "embedded": host.embedded,
            "kvmctl": __version__,
            "libvirt": version(number),
            "hypervisor": {"name": kind, "version": None if found is None else version(found)},
            "cpu": _cpu(host, capabilities),
            "memory": total,
            "memory_free": free,
            "numa_nodes": [
                {"number": node.number, "memory": node.memory, "cpus": node.cpus} for node in offers.nodes(capabilities)
            ],
            "hugepages": [{"size": pages.size, "total": pages.total} for pages in offers.pages(capabilities)],
            "accelerators": ["kvm", "tcg"] if kvm else ["tcg"],
            "kvm": {"usable": kvm, "reason": reason},
            "architectures": sorted(offers.emulated(capabilities)),
            "machines": _machines(capabilities, arch or ""),
            "firmware": ["bios", "uefi"] if firmware.get("uefi") else ["bios"],
            "secure_boot": bool(firmware.get("secure_boot")),
            "networks": _services(offers.networks(host)),
            "pools": _services(offers.pools(host)),
            **_vms(host),
        }


def _vms(host: Host) -> dict[str, int]:
    """How many VMs there are, and how many have a QEMU."""
    states = [answer.get("state.state", 0) for _, answer in all_states(host)]
    return {"vms_running": sum(state not in QUIET_STATES for state in states), "vms_total": len(states)}


def _name_and_version(name: str, number: int | None) -> str:
    return name if number is None else f"{name} {version(number)}"


def _cpu(host: Host, capabilities: Element) -> dict[str, Any]:
    cpu = capabilities.find("host/cpu")
    known: dict[str, Any] = {
        "arch": capabilities.findtext("host/cpu/arch"),
        "vendor": capabilities.findtext("host/cpu/vendor"),
        "model": capabilities.findtext("host/cpu/model"),
    }
    topology = cpu.find("topology") if cpu is not None else None
    for name in ("sockets", "dies", "cores", "threads"):
        count = topology.get(name) if topology is not None else None
        known[name] = int(count) if count else None
    with suppress(libvirt.libvirtError):
        _, _, known["count"], known["mhz"], *_ = host.conn.getInfo()
    return known


def _machines(capabilities: Element, arch: str) -> dict[str, str]:
    """The short names of machine types for the host's architecture, and the versioned ones they stand for."""
    machines = capabilities.findall(f"guest/arch[@name='{arch}']/machine[@canonical]")
    return {machine.text or "": machine.get("canonical", "") for machine in machines}


def _services(services: tuple[Service, ...] | None) -> list[dict[str, Any]] | None:
    """Networks or pools as a list; None where libvirt has no driver for them."""
    if services is None:
        return None
    return [
        {"name": each.name, "active": each.active, "autostart": each.autostart}
        | ({"size": each.total, "free": each.free} if each.total is not None else {})
        for each in services
    ]
