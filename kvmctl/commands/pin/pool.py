"""`kvmctl pin pool`: keep VMs that float off the CPUs of exclusive ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands.host import _hosts
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.parallel import Work


@command("pool")
@_hosts.host_arguments(many=False)
@click.option("--off", is_flag=True, help="Let the VMs of the pool float over the whole host again.")
@click.pass_obj
def pool(app: App, named: str | None, off: bool) -> None:
    """Keep VMs that float off the CPUs that exclusive VMs have.

    Every VM of the host without pins joins the pool: its threads float over the CPUs that are no exclusive VM's, now
    and from its next boot on. When kvmctl gives CPUs to an exclusive VM or takes them back, the pool follows. VMs that
    are made later join when this is called again.

    \b
    With -o json it prints one object with the fields
      host     the host
      cpus     over which the pool floats; null with --off
      vms      all VMs of the pool
      changed  those that joined, or left
      notes    which VMs were moved, and whether any CPUs are left

    \b
    Exit codes:
      0  done
      7  the host cannot be reached, or does not let us in
    """
    [target] = _hosts.targets(app, named)
    app.warn_of(target)

    def change(work: Work) -> dict[str, Any]:
        from kvmctl.host.connection import connect
        from kvmctl.host.pooling import pool as keep

        with connect(target, timeout=work.limit, work=work) as host:
            return keep(host, work, off=off)

    answer = _hosts.one(app, change)
    app.output.done([answer], single=True)
    who = ", ".join(answer["changed"]) or "no VM"
    app.output.say(f"{answer['host']}: {who} {'left' if off else 'joined'} the pool")
    for note in answer["notes"]:
        app.output.say(f"  {note}")
