"""`kvmctl start`: start VMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("start")
@vm_arguments()
@click.option("--paused", is_flag=True, help="Leave each VM paused; 'kvmctl resume' lets it go on.")
@click.pass_obj
def start(app: App, vms: list[str], paused: bool) -> None:
    """Start VMs.

    VM is a name or UUID. A VM that was saved goes on where it was. One that is running already stays as it is, which
    is a success with the field changed false. One that is running but paused is not started by this: exit code 5.

    \b
      kvmctl start web1 web2

    With -o json it prints an object per VM with the fields name, uuid, state, host and changed.

    \b
    Exit codes:
      0  all are running
      3  there is no such VM
      5  it cannot be started as it is: paused, or half-created
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import lifecycle

        return lifecycle.start(host, vm, paused=paused)

    each(app, vms, deed, sentence=sentence("started, and paused" if paused else "started", "already running"))
