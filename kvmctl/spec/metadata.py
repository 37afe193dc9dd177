"""kvmctl's own element in a domain's <metadata>: what is kept with the VM itself, since there is no state file.

<kvmctl:vm xmlns:kvmctl="…">
  <kvmctl:creating host="…" pid="…" since="…">      only while `create` makes the disks
    <kvmctl:disk path="…" pool="…"/>
  </kvmctl:creating>
  <kvmctl:spec>…</kvmctl:spec>                       the spec as it was last applied, as YAML
</kvmctl:vm>
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement, tostring

NAMESPACE = "https://kvmctl.dev/xmlns/vm/1"
PREFIX = "kvmctl"
VM = f"{{{NAMESPACE}}}vm"
CREATING = f"{{{NAMESPACE}}}creating"
DISK = f"{{{NAMESPACE}}}disk"
SPEC = f"{{{NAMESPACE}}}spec"


def element(spec: str) -> Element:
    """The element of a VM that was made from this spec."""
    vm = Element(VM)
    SubElement(vm, SPEC).text = spec
    return vm


def mark(vm: Element, disks: Sequence[tuple[str, str | None]], **who: str) -> None:
    """Say that disks (path and pool) are being made for this VM, and by whom."""
    creating = Element(CREATING, who)
    for path, pool in disks:
        SubElement(creating, DISK, {"path": path, **({"pool": pool} if pool else {})})
    vm.insert(0, creating)


def unmark(vm: Element) -> None:
    """The disks are made."""
    for creating in vm.findall(CREATING):
        vm.remove(creating)


def bare(vm: Element) -> str:
    """The element as text without its namespace, which libvirt's setMetadata adds to every element by itself."""
    copy = deepcopy(vm)
    for node in copy.iter():
        node.tag = node.tag.removeprefix(f"{{{NAMESPACE}}}")
    return tostring(copy, encoding="unicode")


def attach(domain: Element, vm: Element) -> None:
    """Put the element into a domain."""
    parent = domain.find("metadata")
    (SubElement(domain, "metadata") if parent is None else parent).append(vm)


def remove(domain: Element) -> None:
    """Take the element out of a domain, and <metadata> with it where nothing else is in it."""
    parent = domain.find("metadata")
    if parent is None:
        return
    for vm in parent.findall(VM):
        parent.remove(vm)
    if not len(parent) and not (parent.text or "").strip():
        domain.remove(parent)
