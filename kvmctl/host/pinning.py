"""Pins a VM: its vCPUs, QEMU's own threads, iothreads and memory, now and for the next boot; all of it, or nothing.

Says where things go and does not ask whether that is wise; `plan/placement` does. What libvirt cannot do to a running
VM, because there are no cgroups for example, is no error if the next boot brings it: it is told in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, fromstring

from kvmctl.errors import Refused
from kvmctl.host import messages
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.offers import nodes
from kvmctl.host.redefining import READ, redefine
from kvmctl.host.threads import move_helpers, process_of
from kvmctl.host.undoing import Undo
from kvmctl.plan.placement.pins import Pins, pins_of, put_back, write_pins
from kvmctl.spec import metadata
from kvmctl.spec.kinds import CpuSet, show_cpus
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
MODES = ("strict", "preferred", "interleave", "restrictive")
"""libvirt's numbers for how memory is held to its nodes."""

UNABLE = (
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_NO_SUPPORT,
)
"""How drivers say that they cannot do this, here or at all."""

NO_SUCH_OPTION = "its libvirt has no such option"

Deed = Callable[[], object]
Step = tuple[str, Deed, Deed]
"""What it is about, in words; how to do it, and how to take it back."""


def apply(
    host: Host,
    domain: libvirt.virDomain,
    pins: Pins,
    *,
    live: bool,
    config: bool,
    undo: Undo | None = None,
    work: Work | None = None,
) -> tuple[str, ...]:
    """Pin a VM; sentences about what could not be done live and comes with the next boot.

    With `undo` it is a part of something larger, and what is done here is taken back when that fails.
    """
    notes: tuple[str, ...] = ()
    with _undoing(domain, undo) as steps, translated(vm=domain.name(), doing="pin it"):
        if live:
            notes = apply_live(host, domain, pins, undo=steps, work=work, config=config)
        if config:
            if work:
                work.check()
            _configure(host, domain, pins, steps)
    return notes


def apply_live(
    host: Host, domain: libvirt.virDomain, pins: Pins, *, undo: Undo, work: Work | None = None, config: bool
) -> tuple[str, ...]:
    """The live half of it. `config` says that the next boot is seen to, so that what cannot be done is but told."""
    notes: list[str] = []
    for what, do, back in _live_steps(host, domain, pins):
        if work:
            work.check()
        if why := refusal(domain, do):
            notes.append(later(domain, what, why, config=config))
        else:
            undo.add(back)
    return tuple(notes)


def set_placement(
    domain: libvirt.virDomain,
    attributes: Mapping[str, str] | None,
    *,
    live: bool,
    config: bool,
    undo: Undo | None = None,
) -> None:
    """Keep a wish for placement in the VM's metadata, or with None take it away; the rest of our element stays."""
    with _undoing(domain, undo) as steps, translated(vm=domain.name(), doing="keep its placement"):
        for flag in (LIVE,) * live + (CONFIG,) * config:
            kept = _kept(domain, flag)
            vm = fromstring(kept) if kept else Element("vm")
            old = vm.findall("placement")
            if (attributes is None and not old) or [dict(attributes or {})] == [placement.attrib for placement in old]:
                continue
            for placement in old:
                vm.remove(placement)
            if attributes is not None:
                SubElement(vm, "placement", dict(attributes))
            _keep(domain, metadata.bare(vm) if len(vm) else None, flag)
            steps.add(partial(_keep, domain, kept, flag))


def refusal(domain: libvirt.virDomain, deed: Deed) -> str:
    """Do it; empty if it is done, or why libvirt cannot do such a thing to this VM. Everything else is raised."""
    try:
        deed()
    except libvirt.libvirtError as problem:
        if not _is_unable(problem) or not domain.isActive():
            raise
        return NO_SUCH_OPTION if _has_no_flag(problem) else messages.plain(problem)
    return ""


def later(domain: libvirt.virDomain, what: str, why: str, *, config: bool) -> str:
    """The sentence about what cannot be done to the running VM; an error where nothing else was asked for."""
    if config:
        return f"{what}: at the next boot and not now, because {why}"
    raise Refused(
        "not-supported",
        f"cannot change {what} while it runs: {why}",
        hint="with --next-boot it counts from the next boot on",
        vm=domain.name(),
    )


def cpu_map(host: Host, cpus: CpuSet | None = None) -> tuple[bool, ...]:
    """CPUs as libvirt takes them; all that are online if nothing is said."""
    number, online, _ = host.conn.getCPUMap()
    return tuple(online) if cpus is None else tuple(cpu in cpus for cpu in range(number))


def _undoing(domain: libvirt.virDomain, undo: Undo | None) -> AbstractContextManager[Undo]:
    return nullcontext(undo) if undo else Undo(domain.name())


def _live_steps(host: Host, domain: libvirt.virDomain, pins: Pins) -> Iterator[Step]:
    """Every thread whose pins are given, then the memory."""
    before = pins_of(parse(domain.XMLDesc(0)))

    def step(what: str, call: Callable[..., object], there: CpuSet, back: CpuSet | None) -> Step:
        return what, lambda: call(cpu_map(host, there), LIVE), lambda: call(cpu_map(host, back), LIVE)

    for number, cpus in (pins.vcpus or {}).items():
        was = (before.vcpus or {}).get(number)
        yield step(f"vCPU {number}", partial(domain.pinVcpuFlags, number), cpus, was)
    if pins.emulator is not None:
        yield step("the emulator", partial(_pin_emulator, host, domain), pins.emulator, before.emulator)
    for number, cpus in (pins.iothreads or {}).items():
        was = (before.iothreads or {}).get(number)
        yield step(f"iothread {number}", partial(domain.pinIOThread, number), cpus, was)
    if pins.nodes is not None:
        # libvirt 11 moves the memory of running VMs under this mode alone; 9 does under `strict` too.
        mode = {} if before.mode else {"numa_mode": MODES.index("restrictive")}
        there = {**mode, "numa_nodeset": show_cpus(pins.nodes)}
        back = {"numa_nodeset": show_cpus(before.nodes or _all_nodes(host))}
        yield "memory", lambda: domain.setNumaParameters(there, LIVE), lambda: domain.setNumaParameters(back, LIVE)


def _pin_emulator(host: Host, domain: libvirt.virDomain, cpus: tuple[bool, ...], flag: int) -> None:
    domain.pinEmulator(cpus, flag)
    pid = process_of(host, domain.name(), domain.UUIDString())
    if pid:
        move_helpers(pid, frozenset(number for number, there in enumerate(cpus) if there))


def _configure(host: Host, domain: libvirt.virDomain, pins: Pins, undo: Undo) -> None:
    before = parse(domain.XMLDesc(READ))
    undo.add(lambda: redefine(domain, lambda document: put_back(document, before)))
    try:
        for number, cpus in (pins.vcpus or {}).items():
            domain.pinVcpuFlags(number, cpu_map(host, cpus), CONFIG)
        if pins.emulator is not None:
            domain.pinEmulator(cpu_map(host, pins.emulator), CONFIG)
        for number, cpus in (pins.iothreads or {}).items():
            domain.pinIOThread(number, cpu_map(host, cpus), CONFIG)
        if pins.nodes is not None:
            mode = {"numa_mode": MODES.index(pins.mode)} if pins.mode else {}
            domain.setNumaParameters({**mode, "numa_nodeset": show_cpus(pins.nodes)}, CONFIG)
    except libvirt.libvirtError as problem:
        if not _is_unable(problem):
            raise
        redefine(domain, lambda document: write_pins(document, pins))


def _all_nodes(host: Host) -> CpuSet:
    found = frozenset(node.number for node in nodes(fromstring(host.conn.getCapabilities())))
    return found or frozenset({0})


def _is_unable(problem: libvirt.libvirtError) -> bool:
    return problem.get_error_code() in UNABLE or _has_no_flag(problem)


def _has_no_flag(problem: libvirt.libvirtError) -> bool:
    return "unsupported flags" in (problem.get_error_message() or "")


def _kept(domain: libvirt.virDomain, flag: int) -> str | None:
    """Our element in the metadata, which libvirt gives without its namespace."""
    try:
        kept: str = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, metadata.NAMESPACE, flag)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            raise
        return None
    return kept


def _keep(domain: libvirt.virDomain, text: str | None, flag: int) -> None:
    names = (metadata.PREFIX, metadata.NAMESPACE)
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, *names, flag)
