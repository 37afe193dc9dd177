"""`kvmctl host topology`: a picture of a host, and of who is where on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._picture import drawn
from kvmctl.commands.host import _hosts
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work
    from kvmctl.plan.topology import Tenant, Topology


@command("topology")
@_hosts.host_arguments(many=True)
@click.pass_obj
def topology(app: App, named: tuple[str, ...]) -> None:
    """Draw a host: nodes, caches, cores, devices, and which VM is where.

    Each NUMA node has its CPUs, memory, huge pages and distances, then its L3 caches where it has several, and the
    cores: the threads of one core side by side, with what is bound to each CPU alone. web1:0 is vCPU 0 of web1,
    web1:emu its emulator (QEMU's own threads), web1:io1 its iothread 1. Threads that are bound to several CPUs are
    named below, behind the CPUs. On a host with many cores those that are idle are named in a line.

    An exclamation mark is a conflict, which is told in words at the end: VMs whose vCPUs share a CPU, somebody on a
    CPU that another VM has for itself, emulators and iothreads with no CPU but those on cores of vCPUs, more vCPUs than
    CPUs, CPUs that are offline. A question mark is one that comes once a VM starts.

    Of devices those are shown that a VM may want to be near to: network, storage, graphics, accelerators. Which CPUs
    are isolated is known of this machine only.

    \b
    With -o json it prints one object, or an array for several hosts, with the
    fields
      name            of the host
      cpus            number, node (null: not known), socket, die, cluster,
                      core, cache (the lowest CPU in it; the last five are
                      null for one that is offline), online,
                      isolated (null: not known),
                      occupants: vm, kind (vcpu, emulator, iothread), number
                      of all that may run there, but for what may run anywhere
      nodes           number, cpus, memory, memory_free, distances (by node),
                      hugepages: size, total, free
      caches          L3: number, cpus
      devices         address, node (null: not known), type, product, virtual
                      (it is a function of another), interfaces
      vms             name, uuid, running, vcpus, iothreads (how many),
                      pins: vcpus, emulator, iothreads;
                      floating (vCPUs that may run anywhere), exclusive,
                      whole_cores (so are the other threads of its cores),
                      automatic (kvmctl chose the pins), pooled,
                      memory, page_size (null: no huge pages), memory_nodes
      conflicts       code, what (a sentence), cpus, vms, now (false: once all
                      of them run)

    \b
    Examples:
      kvmctl host topology
      kvmctl host topology host2 -o json

    \b
    Exit codes:
      0  shown
      7  the host cannot be reached, or does not let us in
      9  some of several hosts did not answer
    """
    from kvmctl.plan.placement.inventory import inventory
    from kvmctl.plan.placement.picture import picture

    targets = _hosts.targets(app, named)
    for target in targets:
        app.warn_of(target)
    outcomes = _hosts.ask(app, targets, _look)
    _hosts.tell_failures(app, outcomes)
    seen = {outcome.thing.name: outcome.value for outcome in outcomes if outcome.value is not None}
    items = [
        {"name": outcome.thing.name, **inventory(*outcome.value)} if outcome.value else _hosts.failed(outcome)
        for outcome in outcomes
    ]
    app.output.sheets(
        items,
        lambda host, wide: drawn(app.output, picture(*seen[host["name"]], name=host["name"], width=app.output.width)),
        single=len(items) == 1,
    )
    _hosts.end(outcomes)


def _look(target: Target, work: Work) -> tuple[Topology, tuple[Tenant, ...]]:
    from kvmctl.host.connection import connect
    from kvmctl.host.tenants import tenants
    from kvmctl.host.topology import topology as topology_of

    with connect(target, timeout=work.limit, readonly=True, work=work) as host:
        return topology_of(host, devices=True), tenants(host)
