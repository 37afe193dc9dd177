"""What libvirt says of a host: versions, capabilities, networks, pools. What it cannot say is left out.

Everything here is asked of libvirt alone, so it is true of a host on another machine as well.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kvmctl.host.connection import translated
from kvmctl.host.cpu import remote_flags
from kvmctl.host.library import libvirt
from kvmctl.host.machine import is_local
from kvmctl.host.storage import embedded_images
from kvmctl.plan.accelerator import X86
from kvmctl.plan.check_facts import Node, Pages, Service

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host

Known = dict[str, Any]


def check_facts(host: Host) -> Known:
    """The facts of `HostCheckFacts` that libvirt knows."""
    conn = host.conn
    with translated(doing="ask the host what it offers", host=host.name):
        known: Known = {"libvirt": conn.getLibVersion(), "hypervisor": conn.getType()}
        capabilities = ElementTree.fromstring(conn.getCapabilities())
    known |= {"hypervisor_version": hypervisor_version(host), "networks": networks(host), "pools": pools(host)}
    arch = capabilities.findtext("host/cpu/arch")
    if arch:
        known["arch"] = arch
    known["emulated"] = emulated(capabilities)
    known["kvm_offered"] = offers_kvm(capabilities, arch or "")
    iommu = capabilities.find("host/iommu")
    known["iommu_offered"] = None if iommu is None else iommu.get("support") == "yes"
    known |= firmware_and_tpm(host, capabilities)
    if host.embedded:
        known["images"] = embedded_images(host)
    for pool in known["pools"] or ():
        if pool.name == "default":
            known |= {"space_total": pool.total, "space_free": pool.free}
    if not is_local(host.target):
        known["cpu_flags"] = remote_flags(host, capabilities)
        known |= {"nodes": nodes(capabilities), "pages": pages(capabilities)}
        known["memory_total"], known["memory_free"] = memory(host)
    return known


def hypervisor_version(host: Host) -> int | None:
    """QEMU's version as libvirt writes versions; None where there is no QEMU."""
    with suppress(libvirt.libvirtError):
        return int(host.conn.getVersion())
    return None


def emulated(capabilities: Element) -> frozenset[str]:
    """The architectures of guests that there is a QEMU for."""
    return frozenset(arch.get("name", "") for arch in capabilities.findall("guest/arch"))


def offers_kvm(capabilities: Element, arch: str) -> bool:
    return bool(capabilities.findall(f"guest/arch[@name='{arch}']/domain[@type='kvm']"))


def nodes(capabilities: Element) -> tuple[Node, ...]:
    """The NUMA nodes."""
    return tuple(
        Node(
            number=int(cell.get("id", "0")),
            memory=int(cell.findtext("memory") or 0) * 1024,
            cpus=ranges(int(cpu.get("id", "0")) for cpu in cell.findall("cpus/cpu")),
        )
        for cell in capabilities.findall("host/topology/cells/cell")
    )


def ranges(numbers: Any) -> str:
    """CPUs as Linux writes them: 0-3,8."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def pages(capabilities: Element) -> tuple[Pages, ...]:
    """The large pages reserved, all nodes together; small ones do not count."""
    totals: dict[int, int] = {}
    for page in capabilities.findall("host/topology/cells/cell/pages"):
        size = int(page.get("size", "0")) * 1024
        totals[size] = totals.get(size, 0) + int(page.text or 0)
    if not totals:
        return ()
    smallest = min(totals)
    return tuple(Pages(size=size, total=total) for size, total in sorted(totals.items()) if size != smallest)


def memory(host: Host) -> tuple[int | None, int | None]:
    """Total and free memory in bytes."""
    with suppress(libvirt.libvirtError):
        stats = host.conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        total, free = (stats.get(key) for key in ("total", "free"))
        # Buffers and caches give way when memory is needed.
        free = None if free is None else free + stats.get("buffers", 0) + stats.get("cached", 0)
        return (None if total is None else total * 1024), (None if free is None else free * 1024)
    return None, None


def machine_of(arch: str) -> str | None:
    """The machine that specs use by default for guests of an architecture."""
    return "q35" if arch in X86 else "virt" if arch in ("aarch64", "riscv64") else None


def domain_capabilities(host: Host, capabilities: Element, accelerator: str | None = None) -> Element | None:
    """What a VM of the host's own architecture can have, on the machine that specs use by default.

    Under the accelerator named, kvm or tcg; libvirt takes the best one that it knows if none is.
    """
    arch = capabilities.findtext("host/cpu/arch")
    kind = {"tcg": "qemu"}.get(accelerator or "", accelerator)
    with suppress(libvirt.libvirtError):
        return ElementTree.fromstring(host.conn.getDomainCapabilities(None, arch, machine_of(arch or ""), kind, 0))
    return None


def firmware_and_tpm(host: Host, capabilities: Element) -> Known:
    """Whether guests can have UEFI, secure boot and an emulated TPM."""
    found = domain_capabilities(host, capabilities)
    if found is None:
        return {}
    uefi = "efi" in values(found, "os/enum[@name='firmware']")
    known = {"uefi": uefi, "secure_boot": uefi and "yes" in values(found, "os/loader/enum[@name='secure']")}
    if found.find("devices/tpm") is not None and not is_local(host.target):
        known["swtpm"] = "emulator" in values(found, "devices/tpm/enum[@name='backendModel']")
    return known


def values(element: Element, path: str) -> list[str]:
    return [value.text or "" for value in element.findall(f"{path}/value")]


def networks(host: Host) -> tuple[Service, ...] | None:
    """libvirt's networks; None where it has no driver for them."""
    with suppress(libvirt.libvirtError):
        return tuple(
            Service(name=network.name(), active=bool(network.isActive()), autostart=_autostart(network))
            for network in host.conn.listAllNetworks(0)
        )
    return None


def pools(host: Host) -> tuple[Service, ...] | None:
    """libvirt's storage pools; None where it has no driver for them."""
    with suppress(libvirt.libvirtError):
        return tuple(map(_pool, host.conn.listAllStoragePools(0)))
    return None


def _pool(pool: libvirt.virStoragePool) -> Service:
    _, total, _, free = pool.info()
    active = bool(pool.isActive())
    return Service(
        name=pool.name(),
        active=active,
        autostart=_autostart(pool),
        total=int(total) if active else None,
        free=int(free) if active else None,
    )


def _autostart(thing: Any) -> bool:
    with suppress(libvirt.libvirtError):  # one that is gone when it stops cannot start by itself
        return bool(thing.autostart())
    return False
