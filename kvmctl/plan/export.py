"""A domain of libvirt -> a spec that makes the same domain again. What no key covers becomes `raw_xml`."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, SubElement

from kvmctl.errors import KvmctlError
from kvmctl.plan.facts import HostFacts
from kvmctl.plan.pci.guest import recognised
from kvmctl.plan.resolve import Resolved, explicit, resolve
from kvmctl.spec import metadata
from kvmctl.spec.declare import declarations
from kvmctl.spec.lenses import prune, require
from kvmctl.spec.merge import remainder
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.numa import LOCAL
from kvmctl.spec.model.tuning import Schedulers
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import read_nodes, to_yaml
from kvmctl.spec.plainly import to_plain
from kvmctl.spec.structure import build
from kvmctl.spec.xmlio import domain_of, vm_of
from kvmctl.spec.xmltext import render

RANKED = {
    "feature": ("name",),
    "vcpupin": ("vcpu",),
    "iothreadpin": ("iothread",),
    "vcpusched": ("vcpus",),
    "memnode": ("cellid",),
    "sibling": ("id",),
}
"""Elements of which the order does not matter, by attributes that tell them apart."""


def export(domain: Element, *, autostart: bool = False) -> Vm:
    """The spec of a domain, as VM. `domain` is its inactive XML; what kvmctl has noted in it is left out.

    The spec is tried out before it is given away: it must read back, and make this very domain. Where a document
    is so unusual that it does not, everything but the name is given as `raw_xml`.
    """
    metadata.forget(domain)
    _complete(domain)
    known = replace(explicit(vm_of(domain)), autostart=autostart or None)
    for vm in (
        recognised(domain, known),
        known,
        explicit(Vm(name=known.name, uuid=known.uuid, memory=Memory(size=2**20), autostart=known.autostart)),
    ):
        try:
            rest = remainder(domain, domain_of(_resolved(vm).vm))
            whole = vm if rest is None else replace(vm, raw_xml=render(rest))
            if same(made(build(read_nodes(to_yaml(to_plain(whole)).encode(), whole.name or ""))), domain):
                return whole
        except KvmctlError:
            continue
    raise KvmctlError("internal", f"no spec makes the VM {known.name} again", vm=known.name or "")


def _complete(domain: Element) -> None:
    """Say what libvirt means, where it may be left out or said in several ways, in the one way that kvmctl writes."""
    memory = domain.find("memory")
    if memory is not None and domain.find("currentMemory") is None:
        SubElement(domain, "currentMemory", memory.attrib).text = memory.text
    for vcpu in domain.findall("vcpu"):
        vcpu.attrib.setdefault("placement", "static")
    cards = declarations(Vm)["networks"].lens
    cards.put(domain, cards.get(domain))  # what is kept of functions in their order, and of those that it has
    schedulers = Schedulers()
    schedulers.put(domain, schedulers.get(domain))  # which it tears apart or puts together as it likes
    for cell in domain.findall("cpu/numa/cell"):
        for itself in cell.findall(f"distances/sibling[@value='{LOCAL}']"):
            if itself.get("id") == cell.get("id"):
                require(cell, ("distances",)).remove(itself)
        prune(cell, ("distances",))
    for name in ("memory", "currentMemory"):
        for element in domain.findall(name):
            element.attrib.setdefault("unit", "KiB")


def made(vm: Vm) -> Element:
    """The domain that a spec makes, on a host that offers all it asks for."""
    return _resolved(vm).document()


def _resolved(vm: Vm) -> Resolved:
    return resolve(vm, HostFacts(arch=vm.arch or "x86_64"))


def same(one: Element, other: Element) -> bool:
    """Whether two elements say the same. The order of children counts only among namesakes without a key of their
    own."""
    if one.tag != other.tag or one.attrib != other.attrib or (one.text or "").strip() != (other.text or "").strip():
        return False
    mine, others = (sorted(element, key=_rank) for element in (one, other))
    return len(mine) == len(others) and all(map(same, mine, others))


def _rank(child: Element) -> tuple[str, str]:
    return str(child.tag), str([child.get(name) for name in RANKED.get(child.tag, ())])
