"""`kvmctl resume`: let paused VMs go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("resume")
@vm_arguments()
@click.pass_obj
def resume(app: App, vms: list[str]) -> None:
    """Let paused VMs go on.

    VM is a name or UUID. A guest that suspended itself is woken. A VM that is running already is a success with the
    field changed false.

    \b
      kvmctl resume web1

    With -o json it prints an object per VM with the fields name, uuid, state, host and changed.

    \b
    Exit codes:
      0  all are running
      3  there is no such VM
      5  it is stopped
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import lifecycle

        return lifecycle.resume(host, vm)

    each(app, vms, deed, sentence=sentence("resumed", "already running"))
