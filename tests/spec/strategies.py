"""Generated specs and documents, made from the declarations: a new field is covered without a line here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from kvmctl.spec import kinds
from kvmctl.spec.declare import Declaration, declarations
from kvmctl.spec.kinds import Kind
from kvmctl.spec.model.disk import Disk, Image
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.network import Network
from kvmctl.spec.model.processor import Cpu, Topology
from kvmctl.spec.model.vm import Vm

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20)
LINES = TEXTS.filter(str.strip)
NAMES = st.from_regex(r"[\w][\w .+&<>'\"-]{0,15}[\w]", fullmatch=True).filter(str.isprintable)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts) + ".qcow2")
SIZES = st.integers(1, 2**30).map(lambda count: count * 2**20)


def scalar(kind: Kind) -> st.SearchStrategy[Any]:
    """Values of a kind, by what its schema says."""
    special = {id(kinds.NAME): NAMES, id(kinds.PATH): PATHS, id(kinds.LINE): LINES, id(kinds.TEXT): TEXTS}
    if id(kind) in special:
        return special[id(kind)]
    if kind.what.startswith("an IP address"):
        return st.ip_addresses().map(str) | st.sampled_from(("localhost", "host-1.example"))
    if kind.what.startswith("a size for a second"):
        return st.integers(1, 2**31).map(lambda count: count * 1024)
    if kind.what.startswith("a size"):
        return SIZES
    if kind.what.startswith("a set of CPUs"):
        return st.frozensets(st.integers(0, 255), min_size=1, max_size=8)
    if kind.what.startswith("a percentage"):
        return st.integers(1, 10_000)
    return from_schema(dict(kind.schema)).map(lambda text: kind.parse(text) if isinstance(text, str) else text)


def from_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of([from_schema(part) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], min(schema["maximum"], 10_000))
    if schema["type"] == "boolean":
        return st.booleans()
    return st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True).map(
        lambda text: text.strip("\n")[:40]
    )


def field(declared: Declaration) -> st.SearchStrategy[Any]:
    if declared.cls is not None:
        return st.lists(group(declared.cls), max_size=3).map(tuple) if declared.many else group(declared.cls)
    assert declared.kind is not None
    if declared.key_kind is not None:
        return st.dictionaries(scalar(declared.key_kind), scalar(declared.kind), min_size=1, max_size=4)
    if declared.many:
        return st.lists(scalar(declared.kind), max_size=3, unique=True).map(tuple)
    return scalar(declared.kind)


def group(cls: Any) -> st.SearchStrategy[Any]:
    """Objects of a class that pass its own check."""
    optional = {name: field(declared) for name, declared in declarations(cls).items() if name != "raw_xml"}
    made = st.fixed_dictionaries({}, optional=optional).map(lambda given: repaired(cls(**given)))
    return made.filter(lambda value: not hasattr(value, "check") or not list(value.check()))


def repaired(value: Any) -> Any:
    """Free of the contradictions that chance makes most often, so that few examples are thrown away."""
    if isinstance(value, Cpu):
        count = value.count or 1
        most = value.max if value.max and value.max > count else None
        pin = {vcpu % (most or count): cpus for vcpu, cpus in (value.pin or {}).items()}
        topology = value.topology and Topology(sockets=1, cores=most or count, threads=1)
        return replace(value, count=count, max=most, pin=pin or None, topology=topology)
    if isinstance(value, Memory):
        return replace(
            value,
            size=value.size or 2**30,
            max=None if (value.max or 0) <= (value.size or 2**30) else value.max,
            hugepages=value.hugepages and 2**20,
        )
    if isinstance(value, Disk):
        if value.path:
            return replace(value, size=None, image=None, pool=None, format=value.format or "raw")
        return replace(value, size=value.size or 2**30, format=value.format if value.format in ("qcow2",) else None)
    if isinstance(value, Image):
        return replace(value, path=value.path or "/srv/base.qcow2")
    if isinstance(value, Network):
        return replace(
            value, bridge=None if value.network else value.bridge, user=None if value.network or value.bridge else True
        )
    if isinstance(value, Vm):
        names = iter(f"vd{letter}{other}" for letter in "abcdef" for other in "abcdef")
        numbers = iter(range(32))
        return replace(
            value,
            name=value.name or "web1",
            template=None,
            memory=value.memory or Memory(size=2**30),
            boot=None,
            disks=tuple(replace(disk, name=next(names), boot_order=None) for disk in value.disks),
            cdrom=tuple(replace(drive, name=next(names), boot_order=None) for drive in value.cdrom),
            networks=tuple(
                replace(card, boot_order=None, mac=f"52:54:00:00:00:{next(numbers):02x}") for card in value.networks
            ),
            graphics=tuple({screen.type: screen for screen in value.graphics}.values()),
            inputs=tuple({(item.type, item.bus): item for item in value.inputs}.values()),
            controllers=tuple(replace(item, index=next(numbers)) for item in value.controllers),
            rng=tuple(device for device in value.rng if device.enabled is not False),
            tpm=tuple(device for device in value.tpm if device.enabled is not False),
            serial=tuple(replace(port, port=next(numbers)) for port in value.serial if port.enabled is not False),
        )
    return value


VMS = group(Vm)
