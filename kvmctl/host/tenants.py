"""Which VMs a host has and where they are pinned, as far as it matters to another one's placement.

Read from each VM's own XML, so the pins of any tool count. Placement that libvirt left to numad is not in there, and
counts as none.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host import machine, many
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.reading import size
from kvmctl.plan.placement.pins import iothreads_of
from kvmctl.plan.topology import Tenant
from kvmctl.spec.kinds import parse_cpus
from kvmctl.spec.metadata import NAMESPACE, VM

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host

PLACEMENT = f"{{{NAMESPACE}}}placement"
DEFAULT_PAGE = 2 * 2**20
"""The huge pages of a host that does not say which it gives where no size is named."""

Cpus = frozenset[int]


def tenants(host: Host) -> tuple[Tenant, ...]:
    """Every VM of the host by name: a running one as it runs, a stopped one as it would start."""
    with translated(doing="look where VMs are pinned", host=host.name):
        domains = host.conn.listAllDomains(0)
        page = (machine.default_hugepage() if machine.is_local(host.target) else None) or DEFAULT_PAGE
        found = [
            tenant_of(ElementTree.fromstring(text), running=domain.ID() >= 0, default_page=page)
            for domain, text in zip(domains, many.ask(domains, definition))
            if text
        ]
    return tuple(sorted(found, key=lambda tenant: tenant.vm))


def tenant_of(xml: Element, *, running: bool, default_page: int = DEFAULT_PAGE) -> Tenant:
    """What the XML of a domain says of its place."""
    count, everywhere = _vcpus(xml)
    wish = xml.find(f"metadata/{VM}/{PLACEMENT}")
    said = {} if wish is None else wish.attrib
    threads = iothreads_of(xml)
    exclusive = said.get("exclusive") == "yes"
    # What has no pin of its own goes where <vcpu> says, and else anywhere.
    floor = {} if everywhere is None else dict.fromkeys(range(count), everywhere)
    below = {} if everywhere is None else dict.fromkeys(threads, everywhere)
    return Tenant(
        vm=xml.findtext("name") or "",
        uuid=xml.findtext("uuid") or "",
        running=running,
        count=count,
        vcpus=dict(sorted((floor | _pins(xml, "vcpupin", "vcpu")).items())),
        emulator=_pins(xml, "emulatorpin", "").get(0, everywhere),
        iothreads=dict(sorted((below | _pins(xml, "iothreadpin", "iothread")).items())),
        iothread_count=len(threads),
        exclusive=exclusive,
        whole_cores=exclusive and said.get("threads") == "own_core",
        automatic=said.get("pin") == "auto",
        by_hand=frozenset(said.get("by_hand", "").split()),
        pooled=said.get("pooled") == "yes",
        memory=size(xml.find("memory")) or 0,
        page_size=_page_size(xml, default_page),
        memory_nodes=_memory_nodes(xml),
    )


def definition(domain: libvirt.virDomain) -> str:
    """Its XML; nothing for one that went meanwhile."""
    return many.document(domain, gone=libvirt.VIR_ERR_NO_DOMAIN)


def _vcpus(xml: Element) -> tuple[int, Cpus | None]:
    """How many vCPUs there are now, and where those are that have no pin of their own."""
    vcpu = xml.find("vcpu")
    if vcpu is None:
        return 1, None
    count = int(vcpu.get("current") or vcpu.text or 1)
    return count, None if vcpu.get("placement") == "auto" else _cpus(vcpu.get("cpuset"))


def _pins(xml: Element, tag: str, key: str) -> dict[int, Cpus]:
    """The pins of one kind. A vCPU that is not plugged in yet may have one too: its CPU is taken."""
    found = ((pin.get(key, "0"), _cpus(pin.get("cpuset"))) for pin in xml.iterfind(f"cputune/{tag}"))
    return {int(number): cpus for number, cpus in found if cpus}


def _page_size(xml: Element, default_page: int) -> int | None:
    """The size of its huge pages; None for ordinary memory. Of several, the one for guest nodes without their own."""
    pages = xml.find("memoryBacking/hugepages")
    if pages is None:
        return None
    sizes = sorted(pages.iterfind("page"), key=lambda page: page.get("nodeset") is not None)
    return _amount(sizes[0]) or default_page if sizes else default_page


def _amount(page: Element) -> int | None:
    element = ElementTree.Element("size", {"unit": page.get("unit", "KiB")})
    element.text = page.get("size")
    return size(element)


def _memory_nodes(xml: Element) -> Cpus:
    """The nodes of its memory, with those of single guest nodes."""
    tune = xml.find("numatune")
    if tune is None:
        return frozenset()
    memory, cells = tune.find("memory"), tune.findall("memnode")
    found = [cell.get("nodeset") for cell in cells]
    if memory is not None and memory.get("placement") != "auto" and not _all_named(xml, cells):
        found.append(memory.get("nodeset"))
    return _union(map(_cpus, found))


def _all_named(xml: Element, cells: list[Element]) -> bool:
    """Whether every guest node has nodes of its own, so that none is left for what is said of all."""
    return 0 < len(xml.findall("cpu/numa/cell")) <= len(cells)


def _union(sets: Iterable[Cpus | None]) -> Cpus:
    return frozenset().union(*(found for found in sets if found))


def _cpus(text: str | None) -> Cpus | None:
    """A set of CPUs or nodes; None if nothing is said."""
    with suppress(ValueError):
        return parse_cpus(text or "")
    return None
