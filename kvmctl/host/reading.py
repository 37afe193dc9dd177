"""What a domain's XML says, as plain values for people and programs. Pure: asks nobody, changes nothing.

Reads domains of any tool, so nothing here relies on what kvmctl writes. Sizes are bytes, CPU sets as Linux writes them.
What is not there is None, or an empty list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.spec.metadata import CREATING, VM
from kvmctl.spec.model.scsi import Address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

Values = dict[str, Any]

UNITS = {"b": 1, "bytes": 1, "k": 1024, "kib": 1024, "kb": 1000, "m": 1024**2, "mib": 1024**2, "mb": 1000**2}
UNITS |= {"g": 1024**3, "gib": 1024**3, "gb": 1000**3, "t": 1024**4, "tib": 1024**4, "tb": 1000**4}
BOOT = {"hd": "disk", "fd": "floppy"}
SOURCES = ("file", "dev", "dir", "path", "name", "volume", "network", "bridge")


def configuration(domain: Element) -> Values:
    """What a domain is made of: its live configuration, or the one for its next boot."""
    most = size(domain.find("memory"))
    return {
        "vcpus": _vcpus(domain),
        "vcpus_max": _number(domain.findtext("vcpu")) or 1,
        "memory": size(domain.find("currentMemory")) or most,
        "memory_max": most,
        "hugepages": _hugepages(domain),
        "cpu": _cpu(domain),
        "accelerator": {"qemu": "tcg"}.get(domain.get("type", ""), domain.get("type")),
        "arch": _attribute(domain, "os/type", "arch"),
        "machine": _attribute(domain, "os/type", "machine"),
        "firmware": _firmware(domain),
        "secure_boot": _secure_boot(domain),
        "boot": _boot(domain),
        "kernel": domain.findtext("os/kernel"),
        "initrd": domain.findtext("os/initrd"),
        "cmdline": domain.findtext("os/cmdline"),
        "disks": [_disk(disk) for disk in domain.findall("devices/disk")],
        "networks": [_network(card) for card in domain.findall("devices/interface")],
        "devices": [_hostdev(device) for device in domain.findall("devices/hostdev")],
        "pins": _pins(domain),
        "graphics": [_graphics(screen) for screen in domain.findall("devices/graphics")],
        "serial": list(_serial(domain)),
        "tpm": _attribute(domain, "devices/tpm", "model"),
        "agent": any(
            target.get("name") == "org.qemu.guest_agent.0" for target in domain.findall("devices/channel/target")
        ),
    }


def identity(domain: Element) -> Values:
    """What people wrote down about the VM, and whether it is only half-created."""
    return {
        "title": domain.findtext("title"),
        "description": domain.findtext("description"),
        "half_created": domain.find(f"metadata/{VM}/{CREATING}") is not None,
    }


def size(element: Element | None) -> int | None:
    """An amount with its unit, in bytes; libvirt's unit where none is written is KiB."""
    number = _number(element.text) if element is not None else None
    if element is None or number is None:
        return None
    return number * UNITS.get(element.get("unit", "KiB").lower(), 1024)


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _attribute(element: Element, path: str, name: str) -> str | None:
    found = element.find(path)
    return found.get(name) if found is not None else None


def _vcpus(domain: Element) -> int:
    vcpu = domain.find("vcpu")
    return (_number(vcpu.get("current")) or _number(vcpu.text) or 1) if vcpu is not None else 1


def _hugepages(domain: Element) -> list[int] | None:
    """The page sizes asked for; an empty list is the host's default one."""
    pages = domain.find("memoryBacking/hugepages")
    if pages is None:
        return None
    return [
        (_number(page.get("size")) or 0) * UNITS.get(page.get("unit", "KiB").lower(), 1024)
        for page in pages.findall("page")
    ]


def _cpu(domain: Element) -> Values:
    cpu = domain.find("cpu")
    if cpu is None:
        return {"model": None, "topology": None}
    topology = cpu.find("topology")
    mode = cpu.get("mode", "custom")
    return {
        "model": (cpu.findtext("model") or None) if mode == "custom" else mode,
        "topology": None
        if topology is None
        else {key: _number(topology.get(key)) for key in ("sockets", "dies", "cores", "threads") if topology.get(key)},
    }


def _firmware(domain: Element) -> str:
    loader = domain.find("os/loader")
    by_name = _attribute(domain, "os", "firmware")
    if by_name:
        return {"efi": "uefi"}.get(by_name, by_name)
    # Without a name it can be told only by how it is attached: UEFI comes as flash memory.
    return "uefi" if loader is not None and loader.get("type") == "pflash" else "bios"


def _secure_boot(domain: Element) -> bool:
    feature = domain.find("os/firmware/feature[@name='secure-boot']")
    if feature is not None:
        return feature.get("enabled") == "yes"
    return _attribute(domain, "os/loader", "secure") == "yes"


def _boot(domain: Element) -> list[str]:
    """What is booted from, in order: kinds of devices, or single devices where each has its number."""
    kinds = [boot.get("dev", "") for boot in domain.findall("os/boot")]
    numbered = [
        (_number(boot.get("order")) or 0, name)
        for device in domain.iterfind("devices/*")
        for boot in device.findall("boot")
        for name in [_attribute(device, "target", "dev") or _attribute(device, "mac", "address") or device.tag]
    ]
    return [BOOT.get(kind, kind) for kind in kinds] or [name for _, name in sorted(numbered)]


def _disk(disk: Element) -> Values:
    driver, target = disk.find("driver"), disk.find("target")
    backing, below = [], disk.find("backingStore")
    while below is not None and below.find("source") is not None:
        backing.append(source_of(below))
        below = below.find("backingStore")
    return {
        "name": target.get("dev") if target is not None else None,
        "device": disk.get("device", "disk"),
        "type": disk.get("type"),
        "source": source_of(disk),
        "format": driver.get("type") if driver is not None else None,
        "bus": target.get("bus") if target is not None else None,
        "readonly": disk.find("readonly") is not None,
        "shareable": disk.find("shareable") is not None,
        "cache": driver.get("cache") if driver is not None else None,
        "discard": driver.get("discard") if driver is not None else None,
        "serial": disk.findtext("serial"),
        "backing": backing,
    }


def source_of(device: Element) -> str | None:
    """Where something comes from: a path, POOL/VOLUME, or PROTOCOL:NAME."""
    source = device.find("source")
    if source is None:
        return None
    if source.get("pool"):
        return f"{source.get('pool')}/{source.get('volume')}"
    if source.get("protocol"):
        return f"{source.get('protocol')}:{source.get('name', '')}"
    return next((source.get(name) for name in SOURCES if source.get(name)), None)


def _network(card: Element) -> Values:
    address = card.find("source/address")
    return {
        "name": _attribute(card, "target", "dev"),
        "mac": _attribute(card, "mac", "address"),
        "type": card.get("type"),
        "source": pci_address(address) if address is not None and card.get("type") == "hostdev" else source_of(card),
        "model": _attribute(card, "model", "type"),
        "link": _attribute(card, "link", "state") or "up",
        "addresses": [],
    }


def _hostdev(device: Element) -> Values:
    address, kind = device.find("source/address"), device.get("type") or device.get("mode")
    where: str | None = None
    if address is not None and kind == "pci":
        where = pci_address(address)
    elif kind == "scsi":
        where = Address().get(device)
    elif address is not None:
        where = address.get("uuid") or ":".join(filter(None, (address.get("bus"), address.get("device"))))
    elif device.find("source/vendor") is not None:
        parts = [_attribute(device, f"source/{name}", "id") or "" for name in ("vendor", "product")]
        where = ":".join(part.removeprefix("0x") for part in parts)
    return {
        "type": kind,
        "address": where,
        "driver": _attribute(device, "driver", "name"),
        "managed": device.get("managed") == "yes",
    }


def pci_address(address: Element) -> str:
    """As Linux writes it: 0000:3b:00.0."""
    domain, bus, slot, function = (int(address.get(key, "0"), 0) for key in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def _pins(domain: Element) -> Values:
    tune = domain.find("cputune")
    pins = tune.findall("vcpupin") if tune is not None else []
    threads = tune.findall("iothreadpin") if tune is not None else []
    return {
        "vcpus": {pin.get("vcpu", ""): pin.get("cpuset", "") for pin in pins},
        "emulator": _attribute(domain, "cputune/emulatorpin", "cpuset"),
        "iothreads": {pin.get("iothread", ""): pin.get("cpuset", "") for pin in threads},
        "all": _attribute(domain, "vcpu", "cpuset"),
        "memory_nodes": _attribute(domain, "numatune/memory", "nodeset"),
        "memory_mode": _attribute(domain, "numatune/memory", "mode"),
    }


def _graphics(screen: Element) -> Values:
    port = _number(screen.get("port"))
    listen = screen.get("listen") or _attribute(screen, "listen", "address")
    return {
        "type": screen.get("type"),
        "listen": listen,
        "port": port if port and port > 0 else None,
        "socket": screen.get("socket") or _attribute(screen, "listen", "socket"),
    }


def _serial(domain: Element) -> Iterator[Values]:
    for line in lines(domain):
        yield {
            "type": line.get("type"),
            "path": line.get("tty") or _attribute(line, "source", "path"),
            "log": _attribute(line, "log", "file"),
            "target": _attribute(line, "target", "type") or "serial",
        }


def lines(domain: Element) -> list[Element]:
    """Serial ports, and consoles that are no second name of one."""
    found = [*domain.findall("devices/serial"), *domain.findall("devices/console")]
    return [line for line in found if not is_second_name(line)] or found


def is_second_name(line: Element) -> bool:
    """True for the <console> by which libvirt names the first serial port once more."""
    return line.tag == "console" and _attribute(line, "target", "type") in (None, "serial")
