"""Generated specs and documents, made from the declarations: a new field is covered without a line here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from kvmctl.spec import kinds
from kvmctl.spec.declare import Declaration, declarations, make
from kvmctl.spec.kinds import Kind
from kvmctl.spec.model.disk import Disk, Image
from kvmctl.spec.model.memory import Memory
from kvmctl.spec.model.network import Network
from kvmctl.spec.model.numa import Cell, Numa
from kvmctl.spec.model.pci import CHOOSING, Pci
from kvmctl.spec.model.processor import Cpu
from kvmctl.spec.model.scsi import Scsi
from kvmctl.spec.model.tuning import Scheduler
from kvmctl.spec.model.usb import Usb
from kvmctl.spec.model.vm import Vm
from tests.spec.places import placed, spread

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20)
LINES = TEXTS.filter(str.strip)
NAMES = st.from_regex(r"[\w][\w .+&<>'\"-]{0,15}[\w]", fullmatch=True).filter(str.isprintable)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts) + ".qcow2")
NUMBERS = st.frozensets(st.integers(0, 255), min_size=1, max_size=8)
SIZES = st.integers(1, 2**30).map(lambda count: count * 2**20)


def scalar(kind: Kind) -> st.SearchStrategy[Any]:
    """Values of a kind, by what its schema says."""
    special = {id(kinds.NAME): NAMES, id(kinds.PATH): PATHS, id(kinds.LINE): LINES, id(kinds.TEXT): TEXTS}
    if id(kind) in special:
        return special[id(kind)]
    if kind.what.startswith("an IP address"):
        return st.ip_addresses().map(str) | st.sampled_from(("localhost", "host-1.example"))
    if kind.what.startswith("an NVMe device"):
        return st.sampled_from(("0000:3b:00.0", "serial:SN-1", "nvme"))
    if kind.what == "a serial number":
        return st.sampled_from(("SN-1", "SN-2-0:1", "S 3"))
    if kind.what.startswith(("a SCSI device", "a path below /dev")):
        return st.sampled_from(("/dev/sdb", "/dev/disk/by-id/scsi-1", "/dev/st0"))
    if kind.what.startswith("an address, or vf_of"):
        return st.sampled_from(("0000:3b:10.0", "vf_of:eth0", "eth2"))
    if kind.what.startswith("a size for a second"):
        return st.integers(1, 2**31).map(lambda count: count * 1024)
    if kind.what.startswith("a size"):
        return SIZES
    if kind.what.startswith("a set of"):
        return NUMBERS
    if kind.what.startswith("a time"):
        return st.integers(1, 1000).map(lambda count: count * 1000)
    if kind.what.startswith("the name of a host"):
        return NAMES
    if kind.what.startswith("a percentage"):
        return st.integers(1, 10_000)
    return from_schema(dict(kind.schema)).map(lambda text: kind.parse(text) if isinstance(text, str) else text)


def from_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if schema == kinds.CPUS.schema:
        return NUMBERS
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
    return full(declared) if declared.bare is None else full(declared) | scalar(declared.bare)


def full(declared: Declaration) -> st.SearchStrategy[Any]:
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
    made = st.fixed_dictionaries({}, optional=optional).map(lambda given: repaired(make(cls, given)))
    return made.filter(lambda value: not hasattr(value, "check") or not list(value.check()))


def network(card: Network) -> Network:
    """Connected to one thing."""
    kind = next((name for name in ("network", "bridge", "hostdev") if getattr(card, name)), "user")
    given = {name: getattr(card, name) if name == kind else None for name in ("network", "bridge", "hostdev")}
    card = replace(card, **given, user=True if kind == "user" else None, vlan=None if kind == "user" else card.vlan)
    if kind != "hostdev":
        return replace(card, trust=None, spoof_check=None)
    return replace(card, hostdev="0000:3b:10.0", model=None, mtu=None, link=None, limits=None)


def wishes(vm: Vm, entry: Pci) -> dict[str, Any]:
    """What a device can wish for in this guest."""
    cells = len(vm.numa.cells) if vm.numa else 0
    number = entry.guest_node if isinstance(entry.guest_node, str) else (entry.guest_node or 0) % max(cells, 1)
    node = number if cells and not vm.machine and entry.guest_node is not None else None
    return {"together": None if vm.machine else entry.together, "guest_node": node}


def repaired(value: Any) -> Any:
    """Free of the contradictions that chance makes most often, so that few examples are thrown away."""
    if isinstance(value, (Cpu, Scheduler, Cell, Numa)):
        return placed(value)
    if isinstance(value, Memory):
        return replace(
            value,
            size=value.size or 2**30,
            max=None if (value.max or 0) <= (value.size or 2**30) or value.prealloc else value.max,
            hugepages=value.hugepages and 2**20,
            source="memfd" if value.hugepages and value.source else value.source,
            prealloc=(value.prealloc or None) if value.hugepages else value.prealloc,
        )
    if isinstance(value, Disk):
        if value.nvme:
            value = replace(
                value, nvme="0000:3d:00.0", path=None, size=None, image=None, pool=None, format=value.format and "raw"
            )
        elif value.path:
            value = replace(value, size=None, image=None, pool=None, format=value.format or "raw")
        else:
            form = value.format if value.format in ("qcow2",) else None
            value = replace(value, size=value.size or 2**30, format=form)
        return replace(value, iothread=value.iothread if value.bus in (None, "virtio") else None)
    if isinstance(value, Image):
        return replace(value, path=value.path or "/srv/base.qcow2")
    if isinstance(value, Network):
        return network(value)
    if isinstance(value, Usb):
        value = replace(value, which=None, port=None, device=value.bus)
        return replace(value, vendor=value.vendor or "046d", product=value.product or "c52b")
    if isinstance(value, Scsi):
        return replace(value, device=None, path=None, wwn=None, serial=None, address=value.address or "2:0:0:0")
    if isinstance(value, Pci):
        if value.mdev:
            return Pci(mdev="c2177883-f1bb-47f0-914d-32a22e3a8804")
        wanted = {name: None for name in CHOOSING if name != "address"}
        return replace(value, **wanted, product=None, count=None, address=value.address or "0000:3b:00.0")
    if isinstance(value, Vm):
        names = iter(f"vd{letter}{other}" for letter in "abcdef" for other in "abcdef")
        numbers, slots = iter(range(32)), iter(range(32))
        threads = value.cpu and value.cpu.iothreads
        numa, memory = spread(value)
        return replace(
            value,
            name=value.name or "web1",
            template=None,
            memory=memory,
            numa=numa,
            boot=None,
            disks=tuple(
                replace(
                    disk,
                    name=next(names),
                    boot_order=None,
                    iothread=(disk.iothread and threads) or None,
                    nvme=disk.nvme and f"0000:3d:{next(slots):02x}.0",
                )
                for disk in value.disks
            ),
            cdrom=tuple(replace(drive, name=next(names), boot_order=None) for drive in value.cdrom),
            networks=tuple(
                replace(
                    card,
                    boot_order=None,
                    mac=f"52:54:00:00:00:{next(numbers):02x}",
                    hostdev=card.hostdev and f"0000:3c:{next(slots):02x}.0",
                )
                for card in value.networks
            ),
            usb=tuple(replace(stick, boot_order=None, product=f"{next(slots):04x}") for stick in value.usb),
            scsi=tuple(replace(unit, boot_order=None, address=f"2:0:{next(slots)}:0") for unit in value.scsi),
            pci=tuple(
                replace(entry, mdev=f"{entry.mdev[:-2]}{next(slots):02x}")
                if entry.mdev
                else replace(entry, boot_order=None, address=f"0000:3b:{next(slots):02x}.0", **wishes(value, entry))
                for entry in value.pci
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
