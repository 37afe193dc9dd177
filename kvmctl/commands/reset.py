"""`kvmctl reset`: press the reset button of VMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("reset")
@vm_arguments()
@click.pass_obj
def reset(app: App, vms: list[str]) -> None:
    """Press the reset button of VMs.

    VM is a name or UUID. The guest starts anew at once, without shutting down, and what it has not written is lost.
    The VM's process goes on, so changes for the next boot do not take effect: 'kvmctl restart' is for that.

    \b
      kvmctl reset web1

    With -o json it prints an object per VM with the fields name, uuid, state, host and changed.

    \b
    Exit codes:
      0  done
      3  there is no such VM
      5  it is not running
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import lifecycle

        return lifecycle.reset(host, vm)

    each(app, vms, deed, sentence=sentence("reset", "reset"))
