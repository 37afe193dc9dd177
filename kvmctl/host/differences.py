"""What differs between a domain as it runs and as it will be at its next boot. Pure: compares two XML documents.

Whatever libvirt fills in only while a VM runs is no difference: names of network devices, ports, terminals, the CPU
that a mode stands for. What is compared is XML, so that domains of any tool, with anything in them, are told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmctl.host.reading import is_second_name, pci_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

Difference = dict[str, str | None]

KEYS = {
    "disk": ("target", "dev"),
    "interface": ("mac", "address"),
    "channel": ("target", "name"),
    "filesystem": ("target", "dir"),
    "serial": ("target", "port"),
    "vcpupin": ("", "vcpu"),
    "vcpusched": ("", "vcpus"),
    "iothreadpin": ("", "iothread"),
    "iothread": ("", "id"),
    "feature": ("", "name"),
    "timer": ("", "name"),
    "cell": ("", "id"),
    "memnode": ("", "cellid"),
    "graphics": ("", "type"),
}
"""How the elements of one tag are told apart: an attribute of the element or of a child. Others by their place."""

RUNTIME_ELEMENTS = frozenset(
    ("alias", "seclabel", "backingStore", "privateData", "mirror", "metadata", "resource", "vcpus", "iothreadids")
)
RUNTIME_ATTRIBUTES = frozenset(
    (
        "domain/@id",
        "source/@index",
        "source/@portid",
        "target/@state",
        "target/@port",
        "model/@fallback",
        "clock/@adjustment",
        "clock/@basis",
    )
)
RESOLVED = ("os/@firmware", "driver/@type")
"""What a running domain leaves out: how its firmware was chosen, the format of a drive with nothing in it."""
CPU_MODES = ("mode", "match", "check", "migratable")
GENERATED_NAMES = ("vnet", "vif", "macvtap", "macvlan", "tap")
FILLED_IN = frozenset(
    (
        "channel/source",
        "console/@tty",
        "console/source",
        "cpu/feature",
        "cpu/maxphysaddr",
        "cpu/model",
        "cpu/vendor",
        "domain/genid",
        "driver/@name",
        "features/smm",
        "graphics/@listen",
        "graphics/@port",
        "graphics/@tlsPort",
        "graphics/@websocket",
        "graphics/listen",
        "interface/driver",
        "interface/target",
        "listen/@address",
        "os/firmware",
        "os/loader",
        "os/nvram",
        "parallel/source",
        "rng/driver",
        "serial/source",
        "source/@bridge",
        "source/@mode",
        "source/@path",
        "source/reservations",
    )
)
"""What libvirt adds to a running domain where its definition says nothing."""


def differences(live: Element, next_boot: Element) -> list[Difference]:
    """Each difference: `path`, and the value it has now and at the next boot; None where it is not there."""
    return list(_compare("", live, next_boot))


def _compare(path: str, live: Element, later: Element) -> Iterator[Difference]:
    now, then = (live.text or "").strip(), (later.text or "").strip()
    if now != then:
        yield {"path": path, "live": _with_unit(live), "next_boot": _with_unit(later)}
    for name in sorted(live.attrib.keys() | later.attrib.keys()):
        if live.get(name) != later.get(name) and not _is_runtime(live, name, later.get(name)):
            where = f"{path}/@{name}" if path else f"@{name}"
            yield {"path": where, "live": live.get(name), "next_boot": later.get(name)}
    if live.tag == "cpu" and _stands_for(later):
        return
    ours, theirs = _children(live), _children(later)
    for key in dict.fromkeys([*ours, *theirs]):
        child, other = ours.get(key), theirs.get(key)
        where = f"{path}/{key}" if path else key
        if child is not None and other is not None:
            yield from _compare(where, child, other)
        elif other is None and child is not None and f"{live.tag}/{child.tag}" in FILLED_IN:
            continue
        else:
            yield {"path": where, "live": _summary(child), "next_boot": _summary(other)}


def _is_runtime(live: Element, name: str, later: str | None) -> bool:
    """True for an attribute whose value belongs to the running VM and not to its configuration."""
    place, value = f"{live.tag}/@{name}", live.get(name)
    if place in RUNTIME_ATTRIBUTES or (live.tag == "cpu" and name in CPU_MODES):
        return True
    if place in FILLED_IN and later in (None, "-1"):
        return True
    if place in RESOLVED:
        return value is None
    return place == "target/@dev" and later is None and (value or "").startswith(GENERATED_NAMES)


def _stands_for(cpu: Element) -> bool:
    """True if the configuration names a mode, which the running VM shows as the CPU that it came to be."""
    return cpu.get("mode") in ("host-model", "host-passthrough", "maximum")


def _children(element: Element) -> dict[str, Element]:
    """The children that count, each under the name it has in a path."""
    counted = [
        child
        for child in element
        if child.tag not in RUNTIME_ELEMENTS and not _is_place(element, child) and not is_second_name(child)
    ]
    tags = [child.tag for child in counted]
    found: dict[str, Element] = {}
    for child in counted:
        key = _key(child)
        if key is None and tags.count(child.tag) > 1:
            key = str(sum(known.partition("[")[0] == child.tag for known in found))
        name = child.tag.rpartition("}")[2]
        found[name if key is None else f"{name}[{key}]"] = child
    return found


def _is_place(parent: Element, child: Element) -> bool:
    """True for the address that a device has inside the guest; the one in a <source> is the host's, and counts."""
    return child.tag == "address" and parent.tag != "source"


def _key(element: Element) -> str | None:
    if element.tag == "hostdev":
        address = element.find("source/address")
        if address is not None and element.get("type") == "pci":
            return pci_address(address)
        return None if address is None else "-".join(address.attrib.values())
    if element.tag == "controller":
        return f"{element.get('type')}{element.get('index', '')}"
    child, attribute = KEYS.get(element.tag, ("", ""))
    holder = element.find(child) if child else element
    return holder.get(attribute) if holder is not None and attribute else None


def _with_unit(element: Element) -> str | None:
    text = (element.text or "").strip()
    return f"{text} {element.get('unit')}" if text and element.get("unit") else text or None


def _summary(element: Element | None) -> str | None:
    """A whole element in a few words: what its <source> says, else its text, else all that it says."""
    if element is None:
        return None
    text = _with_unit(element)
    source = element.find("source")
    words = _words(source) if source is not None else _words(element)
    return text or " ".join(words) or "present"


def _words(element: Element) -> list[str]:
    named = element.attrib.items()
    own = [f"{name}={value}" for name, value in named if f"{element.tag}/@{name}" not in RUNTIME_ATTRIBUTES]
    for child in element:
        if child.tag in RUNTIME_ELEMENTS or _is_place(element, child):
            continue
        text = (child.text or "").strip()
        own += [f"{child.tag}={text}"] if text else [f"{child.tag}.{word}" for word in _words(child)]
    return own
