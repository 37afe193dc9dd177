"""`kvmctl restart`: stop VMs and start them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import PLUG_SECONDS, STOP_SECONDS, force_option, stopped_sentence, vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.watch import Watch
    from kvmctl.parallel import Work


@command("restart")
@vm_arguments()
@force_option()
@click.pass_obj
def restart(app: App, vms: list[str], force: bool) -> None:
    """Stop VMs and start them again.

    VM is a name or UUID. Each is stopped as 'kvmctl stop' does it, with the same --timeout and --force, and then
    started, so that it runs with its configuration for the next boot. One that is stopped is just started. What has
    no definition on the host cannot be started again, and is refused before it is stopped.

    \b
      kvmctl restart web1

    With -o json it prints an object per VM with the fields name, uuid, state, host, changed, was_running,
    forced (the plug was pulled) and seconds (how long stopping took).

    \b
    Exit codes:
      0  all have been restarted
      3  there is no such VM
      5  its guest cannot hear us, or it could not be started again
      6  it was not running, and a running VM has CPUs alone that it is pinned to
      8  it did not stop, and is still running
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(watch: Watch, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host import waiting

        return waiting.restart(watch, vm, work, force=force)

    each(
        app,
        vms,
        deed,
        sentence=_sentence,
        place=app.watch,
        seconds=STOP_SECONDS,
        grace=PLUG_SECONDS,
    )


def _sentence(item: dict[str, Any]) -> str:
    return f"{item['name']}: {stopped_sentence(item) if item['was_running'] else 'was stopped'}, and started"
