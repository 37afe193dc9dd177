"""`kvmctl start`: start VMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import force_device_option, sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("start")
@vm_arguments()
@click.option("--paused", is_flag=True, help="Leave each VM paused; 'kvmctl resume' lets it go on.")
@force_device_option()
@click.pass_obj
def start(app: App, vms: list[str], paused: bool, forced: tuple[str, ...]) -> None:
    """Start VMs.

    VM is a name or UUID. A VM that was saved goes on where it was. One that is running already stays as it is, which
    is a success with the field changed false. One that is running but paused is not started by this: exit code 5.

    Of a VM that has devices of the host, the devices are looked at first: one that another VM runs with, that is gone
    or not the one the VM was made with, or that the host needs is refused before anything is touched, with every
    reason at once. So is a disk of this host that the host itself uses, or that another running VM writes to, unless
    both VMs say shareable. SCSI devices are found again by WWN or serial number, and the definition then says at which
    address.

    Virtual functions among its networks get the trust and the spoof check that the VM is to have, never those of a VM
    before it; if it does not start, they get back what they had. That takes root on the host itself: from elsewhere, a
    VM that asks for trust, or for no spoof check, is refused. For VMs that start with their host nobody does it.

    \b
      kvmctl start web1 web2

    With -o json it prints an object per VM with the fields name, uuid, state, host and changed.

    \b
    Exit codes:
      0  all are running
      3  there is no such VM
      5  it cannot be started as it is: paused, half-created, or with
         devices that it cannot have, or not from here
      6  a running VM has CPUs alone that it is pinned to
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import lifecycle

        return lifecycle.start(host, vm, paused=paused, forced=forced)

    each(app, vms, deed, sentence=sentence("started, and paused" if paused else "started", "already running"))
