"""What one host of a move is and has, as its libvirt tells. What it has no driver for is None. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host import offers
from kvmctl.host.connection import translated
from kvmctl.host.cpu import remote_flags
from kvmctl.host.library import libvirt
from kvmctl.host.messages import is_connection_loss, plain
from kvmctl.host.migration.met import met, pools
from kvmctl.host.topology import topology
from kvmctl.plan.migration.check_cpu import SAME_AS_HOST
from kvmctl.plan.migration.ends import End, Fit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.ends import Guest

UNSUPPORTED = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_CONFIG_UNSUPPORTED)


def end(host: Host, guest: Guest, *, there: bool) -> End:
    """The facts of a host; of the target (`there`) also what the VM would meet."""
    conn = host.conn
    with translated(doing="ask the host what it offers", host=host.name):
        capabilities = ElementTree.fromstring(conn.getCapabilities())
        as_host = guest.cpu is not None and guest.cpu.get("mode") in SAME_AS_HOST
        return End(
            name=host.name,
            hostname=conn.getHostname(),
            uuid=capabilities.findtext("host/uuid") or "",
            embedded=host.embedded,
            hypervisor=conn.getType(),
            libvirt=conn.getLibVersion(),
            qemu=offers.hypervisor_version(host),
            machines=machines(capabilities),
            cpu_model=capabilities.findtext("host/cpu/model") or "",
            cpu_vendor=capabilities.findtext("host/cpu/vendor") or "",
            cpu_features=remote_flags(host, capabilities) if as_host else None,
            security=frozenset(model.text or "" for model in capabilities.iterfind("host/secmodel/model")),
            topology=topology(host),
            pools=pools(host) if any(disk.pool for disk in guest.disks) else None,
            **(met(host, guest) if there else {}),
        )


def machines(capabilities: Element) -> dict[tuple[str, str], frozenset[str]]:
    """Architecture and type of domain -> the machine types, by all their names."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for arch in capabilities.iterfind("guest/arch"):
        common = frozenset(_names(arch))
        for kind in arch.iterfind("domain"):
            key = (arch.get("name", ""), kind.get("type", ""))
            found[key] = found.get(key, frozenset()) | common | frozenset(_names(kind))
    return found


def _names(element: Element) -> Iterator[str]:
    for machine in element.iterfind("machine"):
        yield machine.text or ""
        yield machine.get("canonical", "")


def fit(host: Host, guest: Guest) -> Fit:
    """What the target's libvirt says to this guest."""
    operating = guest.xml.find("os/type")
    given = {} if operating is None else operating.attrib
    words = (
        guest.xml.findtext("devices/emulator"),
        given.get("arch"),
        given.get("machine"),
        guest.xml.get("type"),
    )
    with translated(doing="ask the host what it offers", host=host.name):
        try:
            found = ElementTree.fromstring(host.conn.getDomainCapabilities(*words, 0))
        except libvirt.libvirtError as problem:
            if is_connection_loss(problem):
                raise
            return Fit(problem=plain(problem))
        tpm = found.find("devices/tpm") is not None
        return Fit(
            cpu_problem=_cpu_problem(host, guest, words),
            loaders=frozenset(offers.values(found, "os/loader")),
            tpm_backends=frozenset(offers.values(found, "devices/tpm/enum[@name='backendModel']")) if tpm else None,
            tpm_versions=frozenset(offers.values(found, "devices/tpm/enum[@name='backendVersion']")),
        )


def _cpu_problem(host: Host, guest: Guest, words: tuple[str | None, ...]) -> str:
    """Why the target cannot give the guest its CPU, with the features that are missing."""
    if guest.cpu is None or guest.cpu.get("mode", "custom") != "custom":
        return ""
    text = ElementTree.tostring(guest.cpu, encoding="unicode")
    try:
        verdict = host.conn.compareHypervisorCPU(*words, text, libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() in UNSUPPORTED:
            return ""  # an architecture whose CPUs libvirt does not compare
        if is_connection_loss(problem):
            raise
        return plain(problem)
    return "it has another CPU" if verdict == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE else ""
