"""`kvmctl pin clear`: let VMs float again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import vm_arguments
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when, when_options
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("clear")
@vm_arguments()
@when_options
@click.pass_obj
def clear(app: App, vms: list[str], now: bool, next_boot: bool, dry_run: bool) -> None:
    """Take pins away, so that VMs float over the whole host.

    Pins of vCPUs, QEMU's own threads and iothreads go, memory is held to no node, threads have the kernel's own
    scheduler, and the wish for a placement is forgotten. A VM of the pool goes back to the pool's CPUs. Shares and
    quota stay: 'pin set --shares none --quota none' takes them away. What the running VM cannot be given back before
    its next boot is said.

    \b
    With -o json it prints one object, or an array for several VMs, with the fields
      name, uuid, state, host
      changed         false if there were no pins
      now, next_boot  whether the running VM was changed, and its definition
      pooled          whether it is on the pool's CPUs now
      postponed       what holds from the next boot on only, and why
      notes           which VMs were moved, since CPUs are free again
      dry_run

    \b
    Exit codes:
      0  done
      2  the options are wrong
      3  there is no such VM
      5  it cannot be done on this host
      9  some of several VMs failed
    """
    check_when(now, next_boot)

    from kvmctl.host.surroundings import Surroundings
    from kvmctl.host.unpinning import clear as unpin

    around = Surroundings()
    each(
        app,
        vms,
        lambda host, vm, work: unpin(host, vm, work, around, now=now, next_boot=next_boot, dry_run=dry_run),
        sentence=_sentence,
    )


def _sentence(item: dict[str, Any]) -> str:
    where = "floats over the pool" if item["pooled"] else "floats over the whole host"
    if not item["changed"]:
        said = f"{item['name']}: has no pins"
    elif item["dry_run"]:
        said = f"{item['name']}: would float; {when(item)}"
    else:
        said = f"{item['name']}: {where}, {when(item)}"
    return "\n".join([said, *(f"  {note}" for note in (*item["postponed"], *item["notes"]))])
