"""`kvmctl host hugepages`: the huge pages of a host, shown and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.columns import Field, plain, size
from kvmctl.commands import _sheet
from kvmctl.commands._options import read
from kvmctl.commands.host import _hosts
from kvmctl.errors import UsageError
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.app import App
    from kvmctl.columns import Item
    from kvmctl.output import Output

SECONDS = 300.0
"""The kernel may have to move much memory out of the way."""

PAGES = (
    Field("size", "PAGES", show=size, right=True),
    Field("number", "NODE", right=True),
    Field("total", right=True),
    Field("used", right=True),
    Field("free", right=True),
)
VMS = (
    Field("name", "VM"),
    Field("state"),
    Field("pages", right=True),
    Field("size", "OF", show=size, right=True),
    Field("memory", show=size, right=True),
    Field("memory_nodes", "ON NODES", show=lambda nodes: plain(nodes or "any")),
)


def _size(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A size as specs write it."""
    from kvmctl.spec.kinds import parse_size

    return read("--size", parse_size, value)


@command("hugepages")
@_hosts.host_arguments(many=False)
@click.option("--size", "pages", metavar="SIZE", callback=_size, help="Size of the pages: 2MiB, 1GiB.")
@click.option("--node", type=click.IntRange(min=0), metavar="N", help="NUMA node; without it, all nodes.")
@click.option("--count", type=click.IntRange(0, 2**32 - 1), metavar="N", help="Have exactly so many pages; 0 for none.")
@click.pass_obj
def hugepages(app: App, named: str | None, pages: int | None, node: int | None, count: int | None) -> None:
    """Show the huge pages of a host, or change how many there are.

    Without --count it shows the huge pages of each size by node, and the VMs that have some, or need some to start.

    With --count there are exactly so many afterwards: on the node named, or on all nodes together, spread evenly as far
    as memory and what is in use let it be. Fewer than there were are taken back; pages that are in use stay, and to ask
    for fewer than those is refused. Without --size it is the only size that the host offers or uses.

    The kernel gives only memory that is free and in one piece, so it may give fewer than asked for: then the command
    fails, says how many there are, and keeps them. At boot there is room for all; pages that are made later are gone
    after a reboot. What to put on the kernel's command line is said each time.

    \b
    With -o json it prints one object with the fields
      name            of the host
      sizes           size (bytes), total, used, free: of the nodes asked for;
                      mounted: whether libvirt has a hugetlbfs for them, null
                      if there are no pages or it does not tell;
                      nodes: number, total, used, free, and with --count
                      before (the total that was);
                      vms: name, running, pages, memory (bytes),
                      memory_nodes (null: on any node)
      notes           what a person should know, in sentences
      changed         with --count: whether anything had to be done

    \b
    Examples:
      kvmctl host hugepages
      kvmctl host hugepages host2 --size 1GiB --node 1 --count 16
      kvmctl host hugepages --size 2MiB --count 0

    \b
    Exit codes:
      0  shown, or there are as many as asked for
      2  it is not clear which size is meant
      3  there is no such node
      5  pages of that size are not offered, in use, or more than the kernel gave
      7  the host cannot be reached, or libvirt there may not change them
    """
    from kvmctl.host.hugepages import allocate, show

    targets = _hosts.targets(app, named)
    if count is not None and len(targets) > 1:
        raise UsageError("usage", "--count works on one host; -H was given several times")
    for target in targets:
        app.warn_of(target)
    outcomes = _hosts.ask(
        app,
        targets,
        lambda target, work: (
            show(target, work, size=pages, node=node)
            if count is None
            else allocate(target, work, size=pages, node=node, count=count)
        ),
        seconds=SECONDS,
    )
    _hosts.tell_failures(app, outcomes)
    items = [outcome.value or _hosts.failed(outcome) for outcome in outcomes]
    if count is None:
        app.output.sheets(items, lambda host, wide: _lines(app.output, host), single=len(items) == 1)
    else:
        app.output.say(_done(items[0]))
        app.output.done(items, single=True)
    for item in items:
        for note in item.get("notes", ()):
            app.output.say(f"note: {note}")
    _hosts.end(outcomes)


def _lines(output: Output, host: Item) -> Iterator[str]:
    yield output.painted(host["name"], "bold")
    yield from _sheet.table(
        output, [{**node, **_of(pages)} for pages in host["sizes"] for node in pages["nodes"]], PAGES
    )
    yield from _sheet.table(output, [_vm(pages, vm) for pages in host["sizes"] for vm in pages["vms"]], VMS)
    if not host["sizes"]:
        yield f"{_sheet.INDENT}no huge pages are offered"


def _of(pages: Item) -> dict[str, Any]:
    return {"size": pages["size"]}


def _vm(pages: Item, vm: Item) -> dict[str, Any]:
    return {**vm, **_of(pages), "state": "running" if vm["running"] else "stopped"}


def _done(host: Item) -> str:
    """What was done, for a person."""
    [pages] = host["sizes"]
    before = sum(node["before"] for node in pages["nodes"])
    where = ", ".join(f"{node['total']} on node {node['number']}" for node in pages["nodes"])
    said = f"{host['name']}: {pages['total']} huge pages of {size(pages['size'])} ({where})"
    return f"{said}, {f'{before} before' if host['changed'] else 'as there were already'}"
