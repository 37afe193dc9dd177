"""`kvmctl autostart`: start VMs with their host, or no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("autostart")
@vm_arguments()
@click.option("--off", is_flag=True, help="No longer start them with their host.")
@click.pass_obj
def autostart(app: App, vms: list[str], off: bool) -> None:
    """Start VMs with their host, or no longer.

    VM is a name or UUID. The host's libvirt daemon starts these VMs when it starts with the machine; they are not
    started now. The embedded host has no daemon, so there this is refused.

    \b
      kvmctl autostart web1 web2
      kvmctl autostart --off web2

    With -o json it prints an object per VM with the fields name, uuid, state, host, autostart and changed.

    \b
    Exit codes:
      0  done
      3  there is no such VM
      5  the host, or a VM without a definition, cannot have it
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import lifecycle

        return lifecycle.autostart(host, vm, on=not off)

    done = "no longer starts with the host" if off else "starts with the host"
    each(app, vms, deed, sentence=sentence(done, f"{done}, as before"))
