"""`kvmctl pin show`: where VMs run, and what is wrong with it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from kvmctl.columns import Field, size
from kvmctl.commands import _sheet
from kvmctl.commands._options import vm_arguments
from kvmctl.commands._vms import each
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kvmctl.app import App
    from kvmctl.columns import Item
    from kvmctl.output import Output

SECONDS = 60.0
ROOM = (24, 16, 10)
"""Letters for a set of CPUs, by the number of further columns that have some; -o json shows all."""
USUAL_PERIOD = 100_000
EXTRA = ("next_boot", "actual")
"""Columns that are shown where they say something else than the pins."""
COLUMNS = (
    Field("thread"),
    Field("pin"),
    Field("next_boot"),
    Field("actual"),
    Field("cpu", "CPU", right=True),
    Field("node", right=True),
    Field("time", show=lambda seconds: "-" if seconds is None else f"{seconds:.1f}s", right=True),
    Field("scheduler"),
)
QUOTAS = {"quota": "together", "vcpu_quota": "each vCPU", "emulator_quota": "emulator", "iothread_quota": "iothread"}


@command("show")
@vm_arguments()
@click.pass_obj
def show(app: App, vms: list[str]) -> None:
    """Show where VMs run: vCPUs, QEMU's own threads, iothreads and memory, and what is wrong with it.

    Of a running VM the pins are those it runs with. What the kernel makes of them, and what the next boot will bring,
    has columns of its own where it differs, and always with -o wide. What is wrong is told in sentences, each with
    its remedy: CPUs or cores shared with other VMs, cores of which only a part is used, memory on other nodes than
    the vCPUs, QEMU's own threads on the vCPUs' cores, CPUs that are offline.

    The kernel is looked at where kvmctl runs on the host itself. Of another host libvirt tells what it knows: where
    vCPUs may run and did run last, not where memory lies. Only root may see where the memory of another user's QEMU is.

    \b
    With -o json it prints one object, or an array for several VMs, with the fields
      name, uuid, state, host, persistent
      host_cpus       the CPUs of the host that are online
      process         whether QEMU's process was looked at
      vcpus           number, online, and of each thread:
        next_boot, live    the CPUs it is pinned to, or null if it floats;
                           also null without a definition, or if stopped
        actual             the CPUs on which the kernel lets it run
        cpu, node          where it ran last
        time               seconds of CPU time
        scheduler          next_boot, live, actual: other, batch, idle, or
                           fifo and rr with their priority (fifo:10)
      emulator        the same of QEMU's own threads together;
                      threads: name, actual, cpu, time of each
      iothreads       number, and the same
      memory          nodes and mode: {next_boot, live};
                      actual: bytes by node
      shares          {next_boot, live}: weight against other VMs
      quota           {next_boot, live}: percent of one CPU for all vCPUs
                      together; vcpu_quota, emulator_quota, iothread_quota
                      likewise, for each vCPU, QEMU's own threads, each iothread
      period_us       {next_boot, live}: microseconds over which quota counts
      placement       the wish that is kept with the VM: policy, threads,
                      exclusive, near, stopped, pin, by_hand, pooled; or null
      findings        code, what, hint

    \b
    Exit codes:
      0  shown
      3  there is no such VM
      9  some of several VMs could not be shown
    """
    from kvmctl.host.pins import inspect
    from kvmctl.host.surroundings import Surroundings

    around = Surroundings()
    each(
        app,
        vms,
        lambda host, vm, work: inspect(host, vm, work, around),
        answer=lambda items, single: app.output.sheets(
            items, lambda item, wide: _lines(app.output, item, wide), single=single
        ),
        readonly=True,
        seconds=SECONDS,
    )


def _lines(output: Output, vm: Item, wide: bool) -> Iterator[str]:
    yield f"{output.painted(vm['name'], 'bold')}: {output.painted(vm['state'])}"
    yield from _sheet.named(output, _facts(vm))
    threads = dict(_threads(vm, wide))
    running = vm["state"] != "stopped"
    extra = [name for name in EXTRA if running and (wide or _differs(name, threads.values(), vm["host_cpus"]))]
    short = partial(_short, everywhere=vm["host_cpus"], room=ROOM[len(extra)])
    rows = [_row(name, thread, "live" if running else "next_boot", short) for name, thread in threads.items()]
    yield from _sheet.table(output, rows, [each for each in COLUMNS if _is_shown(each.key, rows, extra, wide)])
    for number, found in enumerate(vm["findings"]):
        yield from () if number else ("",)
        yield from _sheet.prose(output.painted("!", "yellow"), found["what"])
        yield from _sheet.prose(" ", found["hint"])


def _facts(vm: Item) -> Iterator[tuple[str, str | None]]:
    memory = vm["memory"]
    where = [f"{size(amount)} on node {node}" for node, amount in (memory["actual"] or {}).items()]
    held = {side: _held(memory["nodes"][side], memory["mode"][side]) for side in ("live", "next_boot")}
    yield "memory", _sheet.listed((*where, _value(vm, held)))
    yield "shares", _value(vm, vm["shares"])
    quotas = [(_value(vm, vm[name], "%"), whose) for name, whose in QUOTAS.items()]
    yield "quota", _sheet.listed(f"{quota} {whose}" for quota, whose in quotas if quota)
    if any(period not in (None, USUAL_PERIOD) for period in vm["period_us"].values()):
        yield "period", _value(vm, vm["period_us"], " µs")
    yield "placement", _sheet.listed(f"{name} {value}" for name, value in (vm["placement"] or {}).items())
    if vm["state"] != "stopped" and memory["actual"] is None:
        yield "not known", "where its memory lies: only root on the host itself can see that"


def _held(nodes: str | None, mode: str | None) -> str:
    return f"held to {'node' if nodes.isdecimal() else 'nodes'} {nodes} ({mode})" if nodes else "held to no node"


def _value(vm: Item, pair: Mapping[str, Any], unit: str = "") -> str | None:
    """What holds now, and what will where that is another."""
    live, later = (
        None if value is None else f"{value:g}{unit}" if isinstance(value, int | float) else value
        for value in (pair["live"], pair["next_boot"])
    )
    if vm["state"] == "stopped":
        return later
    if live == later or not vm["persistent"]:
        return live
    return f"{live or 'none'} now and {later or 'none'} at the next boot"


def _threads(vm: Item, wide: bool) -> Iterator[tuple[str, Item]]:
    """The threads by name; vCPUs that are not plugged in only where they are pinned."""
    for vcpu in vm["vcpus"]:
        if wide or vcpu["online"] or vcpu["live"] or vcpu["next_boot"]:
            yield f"vCPU {vcpu['number']}" + ("" if vcpu["online"] else " (off)"), vcpu
    yield "emulator", vm["emulator"]
    for thread in vm["iothreads"]:
        yield f"iothread {thread['number']}", thread


def _differs(name: str, threads: Iterable[Item], everywhere: str) -> bool:
    """Whether the next boot, or the kernel, has any thread elsewhere than it is pinned."""
    pairs = [(thread["live"] or everywhere, thread[name]) for thread in threads]
    if name == "actual":
        return any(there not in (None, pin) for pin, there in pairs)
    return any((there or everywhere) != pin for pin, there in pairs)


def _row(name: str, thread: Item, side: str, short: Callable[[str | None], str]) -> Item:
    scheduler = thread["scheduler"]
    return {
        "thread": name,
        "pin": short(thread[side]),
        "next_boot": short(thread["next_boot"]),
        "actual": short(thread["actual"]) if thread["actual"] else "-",
        "cpu": thread["cpu"],
        "node": thread["node"],
        "time": thread["time"],
        "scheduler": scheduler["actual"] or scheduler["live"] or scheduler["next_boot"],
    }


def _short(cpus: str | None, everywhere: str, room: int) -> str:
    """A set of CPUs, cut off where it is too long for a table."""
    if cpus in (None, everywhere):
        return "any"
    assert cpus is not None
    return cpus if len(cpus) <= room else cpus[: room - 1].rpartition(",")[0] + ",…"


def _is_shown(key: str, rows: Sequence[Item], extra: Sequence[str], wide: bool) -> bool:
    """Columns that say something: what differs, and what is known."""
    if key in EXTRA:
        return key in extra
    if key == "scheduler":
        return wide or any(row[key] != "other" for row in rows)
    return any(row[key] is not None for row in rows)
