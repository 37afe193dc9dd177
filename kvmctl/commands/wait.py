"""`kvmctl wait`: wait until a VM is running or stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.watch import Watch
    from kvmctl.parallel import Work

WAIT_SECONDS = 300.0


@command("wait")
@vm_arguments()
@click.option("--for", "state", type=click.Choice(["running", "stopped"]), required=True, help="What to wait for.")
@click.pass_obj
def wait(app: App, vms: list[str], state: str) -> None:
    """Wait until VMs are running or stopped.

    VM is a name or UUID. It returns at once where it is so already, and else when the host tells of the change;
    --timeout (300 seconds if not given) bounds the wait. A VM whose state was saved, and one that is gone after it
    ran without a definition, count as stopped.

    \b
      kvmctl wait web1 --for stopped --timeout 60 && kvmctl delete web1

    With -o json it prints an object per VM with the fields name, uuid, state, host and seconds (how long it took).

    \b
    Exit codes:
      0  it is so
      3  there is no such VM, or it was deleted meanwhile
      7  the connection to the host was lost
      8  it is not so; the message says what was last seen
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(watch: Watch, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import waiting

        return waiting.wait_for(watch, vm, state, work)

    each(
        app,
        vms,
        deed,
        sentence=lambda item: f"{item['name']}: {item['state']} after {item['seconds']:.1f} s",
        place=lambda: app.watch(timeout=app.settings.timeout),
        seconds=WAIT_SECONDS,
    )
