"""kvmctl's own element in a domain's <metadata>: what is kept with the VM itself, since there is no state file.

<kvmctl:vm xmlns:kvmctl="…">
  <kvmctl:placement policy="…" pin="auto"/>          what `cpu.placement` says: a part of the VM, not a note
  <kvmctl:function address="…" trust="yes"/>         what `networks[].trust` says: likewise
  <kvmctl:creating host="…" pid="…" since="…">      only while `create` makes the disks
    <kvmctl:disk path="…" pool="…"/>
  </kvmctl:creating>
  <kvmctl:device address="…" product="…" serial="…" wwn="…"/>  what a device of the host was when the VM got it
  <kvmctl:spec>…</kvmctl:spec>                       the spec as it was last applied, as YAML
</kvmctl:vm>
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement, tostring

from kvmctl.spec.lenses import prune, require

NAMESPACE = "https://kvmctl.dev/xmlns/vm/1"
PREFIX = "kvmctl"
VM = f"{{{NAMESPACE}}}vm"
CREATING = f"{{{NAMESPACE}}}creating"
DISK = f"{{{NAMESPACE}}}disk"
SPEC = f"{{{NAMESPACE}}}spec"
DEVICE = f"{{{NAMESPACE}}}device"
PLACEMENT = f"{{{NAMESPACE}}}placement"
FUNCTION = f"{{{NAMESPACE}}}function"
NOTES = (CREATING, SPEC, DEVICE)


def element(spec: str) -> Element:
    """The element of a VM that was made from this spec."""
    vm = Element(VM)
    SubElement(vm, SPEC).text = spec
    return vm


def note_devices(vm: Element, devices: Iterable[Mapping[str, str]]) -> None:
    """Keep what devices of the host are; of the same address what is kept already goes."""
    for device in devices:
        for old in [node for node in vm.findall(DEVICE) if node.get("address") == device["address"]]:
            vm.remove(old)
        SubElement(vm, DEVICE, dict(device))


def keep_devices(domain: Element, devices: Iterable[Mapping[str, str]], *, gone: Collection[str] = ()) -> None:
    """The same in a domain that is there already; what is kept of addresses that are `gone` goes."""
    vm = require(domain, ("metadata", VM))
    for old in [node for node in vm.findall(DEVICE) if node.get("address") in gone]:
        vm.remove(old)
    note_devices(vm, devices)
    prune(domain, ("metadata", VM))


def noted_devices(domain: Element) -> list[Mapping[str, str]]:
    """What `note_devices` kept in a domain."""
    return [dict(node.attrib) for node in domain.findall(f"metadata/{VM}/{DEVICE}")]


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
    """Put the element into a domain. What the domain has of its own there, its placement, goes into the element."""
    parent = require(domain, ("metadata",))
    for old in parent.findall(VM):
        parent.remove(old)
        vm.extend([child for child in old if child.tag not in NOTES])
    parent.append(vm)


def forget(domain: Element) -> None:
    """Take out of a domain what kvmctl has noted for itself, and leave what is part of the VM."""
    for vm in domain.findall(f"metadata/{VM}"):
        for note in [child for child in vm if child.tag in NOTES]:
            vm.remove(note)
    prune(domain, ("metadata", VM))
