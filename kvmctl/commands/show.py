"""`kvmctl show`: all there is to know of a VM."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from kvmctl.columns import Field, plain, printable, size
from kvmctl.commands import _sheet
from kvmctl.commands._options import vm_arguments
from kvmctl.commands._vms import each
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.app import App
    from kvmctl.columns import Item
    from kvmctl.output import Output

SECONDS = 30.0

DISKS = (
    Field("name", "DISK"),
    Field("device"),
    Field("bus"),
    Field("format"),
    Field("cache", wide=True),
    Field("discard", wide=True),
    Field("source"),
)
NETWORKS = (
    Field("to", "NETWORK"),
    Field("mac", "MAC"),
    Field("model"),
    Field("name", "ON HOST"),
    Field("addresses", show=lambda found: plain([f"{each['address']}/{each['prefix']}" for each in found])),
)
DEVICES = (Field("type", "DEVICE"), Field("address"), Field("driver"), Field("managed"))


@command("show")
@vm_arguments()
@click.pass_obj
def show(app: App, vms: list[str]) -> None:
    """Show VMs: state, configuration, addresses, disks, networks, pins, devices.

    What is shown of a running VM is how it runs now. What will be different at its next boot, because its definition
    was changed meanwhile, is listed at the end: each place in the domain XML, with both values.

    Addresses are those that libvirt's networks have leased. Nothing is asked of the guest or its QEMU, so a VM that
    hangs is shown as quickly as any other. Several VMs are looked at at the same time.

    \b
    With -o json it prints one object, or an array for several VMs, with the fields
      name, uuid, state, host, reason, id
      title, description, half_created (a create was interrupted)
      autostart, persistent
      addresses       of all its networks, as strings
      vcpus, vcpus_max, cpu: {model, topology}
      memory, memory_max, hugepages (page sizes, or null): bytes
      accelerator (kvm or tcg), arch, machine, firmware, secure_boot
      boot, kernel, initrd, cmdline
      disks           name, device, type, source, format, bus, readonly,
                      shareable, cache, discard, serial, backing
      networks        name, mac, type, source, model, link,
                      addresses: {address, prefix, family}
      devices         of the host: type, address, driver, managed
      pins            vcpus, emulator, iothreads, all, memory_nodes,
                      memory_mode
      graphics        type, listen, port, socket
      serial          type, path, log, target
      tpm, agent
      next_boot       of a running VM with a definition: the fields from vcpus
                      to agent as they will be; else null
      differences     path, live, next_boot

    \b
    Exit codes:
      0  shown
      3  there is no such VM
      9  some of several VMs could not be shown
    """
    from kvmctl.host.inspection import inspect

    each(
        app,
        vms,
        inspect,
        answer=lambda items, single: app.output.sheets(
            items, lambda item, wide: _lines(app.output, item, wide), single=single
        ),
        readonly=True,
        seconds=SECONDS,
    )


def _lines(output: Output, vm: Item, wide: bool) -> Iterator[str]:
    reason = f" ({vm['reason']})" if vm["reason"] else ""
    yield f"{output.painted(vm['name'], 'bold')}: {output.painted(vm['state'])}{reason}"
    yield from _sheet.named(output, _identity(vm))
    yield ""
    yield from _sheet.named(output, _machine(vm))
    cards = [{**card, "to": card["source"] if card["type"] == "network" else _joined(card)} for card in vm["networks"]]
    for items, fields in ((vm["disks"], DISKS), (cards, NETWORKS), (vm["devices"], DEVICES)):
        yield from _sheet.table(output, items, [field for field in fields if wide or not field.wide])
    if vm["differences"]:
        yield ""
        yield _sheet.INDENT + output.painted("DIFFERENT AT THE NEXT BOOT", "bold")
    for found in vm["differences"]:
        yield f"{_sheet.INDENT}{printable(found['path'])}"
        yield f"{_sheet.INDENT * 2}now        {_value(found['live'])}"
        yield f"{_sheet.INDENT * 2}next boot  {_value(found['next_boot'])}"


def _identity(vm: Item) -> Iterator[tuple[str, str | None]]:
    if vm["half_created"]:
        yield "half-created", f"a create was interrupted: run it again, or kvmctl delete {vm['name']}"
    yield "uuid", vm["uuid"]
    yield "host", vm["host"]
    yield "id", vm["id"] and str(vm["id"])
    yield "title", vm["title"]
    yield "description", vm["description"]
    yield "autostart", plain(vm["autostart"])
    yield "persistent", "yes" if vm["persistent"] else "no: it is gone when it stops"
    yield "addresses", ", ".join(vm["addresses"])


def _machine(vm: Item) -> Iterator[tuple[str, str | None]]:
    topology = vm["cpu"]["topology"] or {}
    shape = " x ".join(f"{count} {name if count != 1 else name[:-1]}" for name, count in topology.items())
    most = f"at most {vm['vcpus_max']}" if vm["vcpus_max"] != vm["vcpus"] else None
    yield "vcpus", _sheet.listed((str(vm["vcpus"]), most, vm["cpu"]["model"], shape))
    most = f"at most {size(vm['memory_max'])}" if vm["memory_max"] != vm["memory"] else None
    pages = None if vm["hugepages"] is None else " ".join(["hugepages", *map(size, vm["hugepages"])])
    yield "memory", _sheet.listed((size(vm["memory"]), most, pages))
    yield "pins", "; ".join(_pins(vm["pins"]))
    how = {"kvm": "by KVM", "tcg": "emulated by software (tcg)"}.get(vm["accelerator"], vm["accelerator"])
    yield "machine", _sheet.listed((vm["machine"], vm["arch"], how))
    yield "firmware", _sheet.listed((vm["firmware"], "secure boot" if vm["secure_boot"] else None))
    yield "boot", vm["kernel"] or ", ".join(vm["boot"])
    yield "initrd", vm["initrd"]
    yield "cmdline", vm["cmdline"]
    yield "console", "; ".join(map(_line, vm["serial"]))
    yield "graphics", "; ".join(_screen(screen) for screen in vm["graphics"])
    yield "tpm", vm["tpm"]


def _joined(card: dict[str, Any]) -> str:
    """What a card is connected to, where that is no network of libvirt's."""
    return f"{card['type']} {card['source']}" if card["source"] else str(card["type"])


def _pins(pins: dict[str, Any]) -> Iterator[str]:
    if pins["all"]:
        yield f"all on {pins['all']}"
    if pins["vcpus"]:
        yield "vcpus " + ", ".join(f"{vcpu} on {cpus}" for vcpu, cpus in pins["vcpus"].items())
    if pins["emulator"]:
        yield f"emulator on {pins['emulator']}"
    if pins["iothreads"]:
        yield "iothreads " + ", ".join(f"{thread} on {cpus}" for thread, cpus in pins["iothreads"].items())
    if pins["memory_nodes"]:
        yield f"memory on node {pins['memory_nodes']} ({pins['memory_mode']})"


def _line(line: dict[str, Any]) -> str:
    place = f"{line['target']} at {line['path']}" if line["path"] else f"{line['target']} ({line['type']})"
    return _sheet.listed((place, line["log"] and f"log {line['log']}"))


def _screen(screen: dict[str, Any]) -> str:
    place = screen["socket"] or (f"{screen['listen'] or 'localhost'}:{screen['port']}" if screen["port"] else None)
    return f"{screen['type']} at {place}" if place else screen["type"]


def _value(text: str | None) -> str:
    """A value of the XML; amounts in the unit that people use."""
    if text is None:
        return "-"
    amount = re.fullmatch(r"(\d+) KiB", text)
    return size(int(amount[1]) * 1024) if amount else printable(text)
