"""`kvmctl host show`: a host in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.columns import Field, size
from kvmctl.commands import _sheet
from kvmctl.commands.host import _cpu, _hosts
from kvmctl.errors import UsageError
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.app import App
    from kvmctl.columns import Item
    from kvmctl.host.targets import Target
    from kvmctl.output import Output

SHAPE = ("sockets", "dies", "cores", "threads")
NODES = (Field("number", "NUMA NODE"), Field("memory", show=size, right=True), Field("cpus", "CPUS"))
NETWORKS = (Field("name", "NETWORK"), Field("active"), Field("autostart"))
POOLS = (
    Field("name", "POOL"),
    Field("active"),
    Field("autostart"),
    Field("size", show=size, right=True),
    Field("free", show=size, right=True),
)


@command("show")
@_hosts.host_arguments(many=True)
@click.option("--cpu", is_flag=True, help="Show what its CPU offers to guests.")
@click.option("--baseline", is_flag=True, help="Show the best CPU that guests can have on all of the hosts named.")
@click.pass_obj
def show(app: App, named: tuple[str, ...], cpu: bool, baseline: bool) -> None:
    """Show a host: versions, CPUs, memory, what guests can have, networks and pools.

    \b
    With -o json it prints one object, or an array for several hosts, with the
    fields
      name, uri, hostname, embedded
      kvmctl, libvirt: versions; hypervisor: {name, version}
      cpu             arch, vendor, model, count, mhz, sockets, dies, cores,
                      threads
      memory, memory_free: bytes
      numa_nodes      number, memory, cpus
      hugepages       size, total
      accelerators    what guests can run on: kvm, tcg
      kvm             usable, reason
      architectures   of the guests that there is a QEMU for
      machines        short names of machine types, and what they stand for
      firmware        bios, uefi
      secure_boot
      networks        name, active, autostart; null without a network driver
      pools           name, active, autostart, size, free; null likewise
      vms_running, vms_total

    With --cpu it shows instead what a spec can say under cpu.model: what host-model stands for there, whether there are
    host-passthrough and maximum, and the models that can be named. -o wide adds the host's own features, the models
    that guests cannot have, and what the host lacks for them, if its libvirt tells.

    \b
    With -o json that is
      name, uri
      arch, vendor, model, features: of the host
      accelerator     what guests would run on, kvm or tcg; the rest is true of
                      those
      host_model      model, vendor, features: by name, require or disable
      host_passthrough, maximum: whether there is such a mode
      models          name, usable (null: not known), vendor, deprecated,
                      stands_for (the versioned model it is a short name of),
                      blockers (features that the host lacks; null: not known)

    With --baseline it prints the CPU that a spec means with cpu.model: {baseline: [host1, host2]}, written as a spec
    with a model of its own would have it.

    \b
    With -o json that is
      hosts, model, features, arch, accelerator

    \b
    Examples:
      kvmctl host show host2
      kvmctl host show --cpu -o wide
      kvmctl host show --baseline host1 host2

    \b
    Exit codes:
      0  shown
      5  the hosts have no CPU in common
      7  the host cannot be reached, or does not let us in
      9  some of several hosts did not answer
    """
    from kvmctl.host.description import describe
    from kvmctl.host.guest_cpus import describe as describe_cpu

    if cpu and baseline:
        raise UsageError("usage", "--cpu and --baseline show different things; give one of them")
    targets = _hosts.targets(app, named)
    for target in targets:
        app.warn_of(target)
    if baseline:
        _baseline(app, targets)
        return
    outcomes = _hosts.ask(app, targets, describe_cpu if cpu else describe)
    _hosts.tell_failures(app, outcomes)
    items = [outcome.value or _hosts.failed(outcome) for outcome in outcomes]
    lines = _cpu.lines if cpu else _lines
    app.output.sheets(items, lambda host, wide: lines(app.output, host, wide), single=len(items) == 1)
    _hosts.end(outcomes)


def _baseline(app: App, targets: list[Target]) -> None:
    from kvmctl.host.baseline import baseline

    found = _hosts.one(app, lambda work: baseline(targets, work))
    names = [target.name for target in targets]
    item = {
        "hosts": names,
        "model": found.model,
        "features": found.features,
        "arch": found.arch,
        "accelerator": found.accelerator,
    }
    app.output.item(item, lambda wide: _cpu.spec_lines(item))


def _lines(output: Output, host: Item, wide: bool) -> Iterator[str]:
    yield f"{output.painted(host['name'], 'bold')}: {host['hostname']}"
    yield from _sheet.named(output, _software(host))
    yield ""
    yield from _sheet.named(output, _hardware(host, wide))
    if len(host["numa_nodes"]) > 1:
        yield from _sheet.table(output, host["numa_nodes"], NODES)
    yield from _sheet.table(output, host["networks"] or (), NETWORKS)
    yield from _sheet.table(output, host["pools"] or (), POOLS)


def _software(host: Item) -> Iterator[tuple[str, str | None]]:
    yield "uri", host["uri"]
    yield "hypervisor", _sheet.listed((host["hypervisor"]["name"], host["hypervisor"]["version"])).replace(",", "")
    yield "libvirt", host["libvirt"] + (", inside kvmctl (embedded)" if host["embedded"] else "")
    yield "kvmctl", host["kvmctl"]
    yield "VMs", f"{host['vms_running']} of {host['vms_total']} running"


def _hardware(host: Item, wide: bool) -> Iterator[tuple[str, str | None]]:
    cpu: dict[str, Any] = host["cpu"]
    shape = " x ".join(f"{cpu[name]} {name if cpu[name] != 1 else name[:-1]}" for name in SHAPE if cpu[name])
    yield "CPU", _sheet.listed((cpu["arch"], cpu["vendor"], cpu["model"], shape))
    yield "memory", f"{size(host['memory_free'])} of {size(host['memory'])} free" if host["memory"] else None
    yield "NUMA nodes", str(len(host["numa_nodes"]) or "") or None
    pages = [f"{pages['total']} of {size(pages['size'])}" for pages in host["hugepages"] if pages["total"]]
    yield "hugepages", ", ".join(pages)
    yield "accelerators", ", ".join(host["accelerators"])
    yield "KVM", host["kvm"]["reason"]
    yield "firmware", _sheet.listed((*host["firmware"], "secure boot" if host["secure_boot"] else None))
    yield "machines", ", ".join(f"{name} = {full}" for name, full in host["machines"].items())
    yield "can emulate", ", ".join(host["architectures"]) if wide else None
