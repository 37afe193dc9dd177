"""`kvmctl pause`: hold the vCPUs of VMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("pause")
@vm_arguments()
@click.pass_obj
def pause(app: App, vms: list[str]) -> None:
    """Hold the vCPUs of VMs.

    VM is a name or UUID. The guest stands still and keeps its memory; 'kvmctl resume' lets it go on. A VM that is
    paused already is a success with the field changed false.

    \b
      kvmctl pause web1

    With -o json it prints an object per VM with the fields name, uuid, state, host and changed.

    \b
    Exit codes:
      0  all are paused
      3  there is no such VM
      5  it is not running
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import lifecycle

        return lifecycle.pause(host, vm)

    each(app, vms, deed, sentence=sentence("paused", "already paused"))
