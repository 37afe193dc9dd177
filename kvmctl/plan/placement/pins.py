"""What can be pinned of a VM, and how a definition says it: edits of domain XML, in place. Pure.

An edit changes the elements that it is about, and nothing else in the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import count, islice
from xml.etree.ElementTree import Element

from kvmctl.plan.placement.tuning import SCHEDULERS, TUNE
from kvmctl.spec.kinds import CpuSet, parse_cpus, show_cpus
from kvmctl.spec.lenses import prune, require
from kvmctl.spec.metadata import PLACEMENT, VM

MEMORY = ("numatune", "memory")
PINS = ("vcpupin", "emulatorpin", "iothreadpin")
STRICT = "strict"
"""What libvirt takes for a mode where nodes are given without one."""


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Where the threads and the memory of a VM are to be; None, or a number that is missing, is left as it is.

    `mode` is how firmly memory is held to `nodes`: strict, preferred, interleave or restrictive.
    """

    vcpus: Mapping[int, CpuSet] | None = None
    emulator: CpuSet | None = None
    iothreads: Mapping[int, CpuSet] | None = None
    nodes: CpuSet | None = None
    mode: str | None = None


def pins_of(domain: Element) -> Pins:
    """What a definition says. Whatever has no pins of its own is where <vcpu cpuset='…'> wants the whole VM."""
    whole = _cpus(domain.find("vcpu"))
    vcpus = dict.fromkeys(range(most_vcpus(domain)), whole) if whole else {}
    iothreads = dict.fromkeys(iothreads_of(domain), whole) if whole else {}
    emulator, memory = domain.find("cputune/emulatorpin"), domain.find("numatune/memory")
    for tag, key, found in (("vcpupin", "vcpu", vcpus), ("iothreadpin", "iothread", iothreads)):
        for pin in domain.findall(f"cputune/{tag}"):
            cpus = _cpus(pin)
            if cpus:
                found[int(pin.get(key, "0"))] = cpus
    return Pins(
        vcpus=vcpus,
        emulator=_cpus(emulator) or whole,
        iothreads=iothreads,
        nodes=_cpus(memory, "nodeset"),
        mode=None if memory is None else memory.get("mode", STRICT),
    )


def most_vcpus(domain: Element) -> int:
    """How many vCPUs the VM can have."""
    return int(domain.findtext("vcpu") or 1)


def iothreads_of(domain: Element) -> tuple[int, ...]:
    """The numbers of its iothreads."""
    named = [int(thread.get("id", "0")) for thread in domain.findall("iothreadids/iothread")]
    free = (number for number in count(1) if number not in named)
    missing = int(domain.findtext("iothreads") or 0) - len(named)
    return tuple(sorted([*named, *islice(free, max(0, missing))]))


def _cpus(element: Element | None, name: str = "cpuset") -> CpuSet | None:
    text = None if element is None else element.get(name)
    return parse_cpus(text) if text else None


def write_pins(domain: Element, pins: Pins) -> None:
    """Have the definition say what is given in `pins`."""
    for tag, key, given in (("vcpupin", "vcpu", pins.vcpus), ("iothreadpin", "iothread", pins.iothreads)):
        for number, cpus in (given or {}).items():
            _element(domain, tag, key, str(number)).set("cpuset", show_cpus(cpus))
    if pins.emulator is not None:
        require(domain, (*TUNE, "emulatorpin")).set("cpuset", show_cpus(pins.emulator))
    if pins.nodes is not None:
        memory = require(domain, MEMORY)
        memory.attrib.pop("placement", None)
        memory.set("mode", pins.mode or memory.get("mode") or STRICT)
        memory.set("nodeset", show_cpus(pins.nodes))


def erase(domain: Element) -> None:
    """Have the definition say nothing of pins, of nodes for memory, or of schedulers."""
    for tune in domain.findall("cputune"):
        for old in [child for child in tune if child.tag in (*PINS, *SCHEDULERS)]:
            tune.remove(old)
        prune(domain, TUNE)
    for old in domain.findall("numatune"):
        domain.remove(old)
    for listed in domain.findall("iothreadids"):
        # libvirt lists iothreads by their numbers once they were pinned, though the list says nothing that is not so.
        said = [(thread.attrib, len(thread)) for thread in listed]
        if said == [({"id": str(number)}, 0) for number in range(1, int(domain.findtext("iothreads") or 0) + 1)]:
            domain.remove(listed)
    vcpu = domain.find("vcpu")
    if vcpu is not None:
        vcpu.attrib.pop("cpuset", None)
        if vcpu.get("placement") == "auto":
            vcpu.set("placement", "static")


def placement_of(domain: Element) -> dict[str, str] | None:
    """The wish for placement that is kept with the VM, as it stands in the metadata; None if there is none."""
    found = domain.find(f"metadata/{VM}/{PLACEMENT}")
    return None if found is None else dict(found.attrib)


def put_back(domain: Element, before: Element) -> None:
    """Have the definition say of pins, nodes and shares of the host what another document says."""
    for tag in ("cputune", "numatune"):
        _replace(domain, tag, before.find(tag))
    vcpu, old = domain.find("vcpu"), before.find("vcpu")
    if vcpu is not None and old is not None:
        for name in ("cpuset", "placement"):
            vcpu.attrib.pop(name, None)
            if old.get(name):
                vcpu.set(name, old.get(name, ""))


def _replace(domain: Element, tag: str, other: Element | None) -> None:
    place = len(domain)
    for old in domain.findall(tag):
        place = list(domain).index(old)
        domain.remove(old)
    if other is not None:
        domain.insert(place, deepcopy(other))


def _element(domain: Element, tag: str, key: str, number: str) -> Element:
    """The child of <cputune> of that tag and number, made if need be."""
    tune = require(domain, TUNE)
    for child in tune.findall(tag):
        if child.get(key) == number:
            return child
    made = Element(tag, {key: number})
    tune.append(made)
    return made
