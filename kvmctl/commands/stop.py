"""`kvmctl stop`: ask VMs to shut down, and wait until they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import PLUG_SECONDS, STOP_SECONDS, force_option, stopped_sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.watch import Watch
    from kvmctl.parallel import Work


@command("stop")
@vm_arguments()
@force_option()
@click.pass_obj
def stop(app: App, vms: list[str], force: bool) -> None:
    """Ask VMs to shut down, and wait until they have.

    VM is a name or UUID. Each guest is asked by its agent or power button, and gets --timeout seconds (60 if not
    given) to shut down. Success means that it is stopped; a VM that was stopped already is a success with the field
    changed false. When the time is over the exit code is 8, and the guest goes on with whatever it does.

    With --force the plug is then pulled, as if by a power cut. The guest of a VM that is paused or has crashed cannot
    hear us: without --force that is refused, and with it the plug is pulled at once.

    \b
      kvmctl stop web1 web2
      kvmctl stop --force --timeout 10 web1

    With -o json it prints an object per VM with the fields name, uuid, state, host, changed, forced (the plug was
    pulled) and seconds (how long it took).

    \b
    Exit codes:
      0  all are stopped
      3  there is no such VM
      5  its guest cannot hear us
      8  it is still running
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(watch: Watch, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import waiting

        return waiting.stop(watch, vm, work, force=force)

    each(
        app,
        vms,
        deed,
        sentence=lambda item: f"{item['name']}: {stopped_sentence(item)}",
        place=app.watch,
        seconds=STOP_SECONDS,
        grace=PLUG_SECONDS,
    )
