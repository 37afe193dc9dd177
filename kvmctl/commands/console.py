"""`kvmctl console`: connect to a VM's serial console."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._complete import vm_names
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("console")
@click.argument("vm", shell_complete=vm_names)
@click.option("--force", is_flag=True, help="Take the console over from another client.")
@click.option(
    "--linger",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=2.0,
    show_default=True,
    help="With input from a pipe or a file: stay after its end until the guest has been quiet for this long.",
)
@click.pass_obj
def console(app: App, vm: str, force: bool, linger: float) -> None:
    """Connect to a VM's serial console.

    On a terminal every key goes to the guest, Ctrl-C included, until you press ^] (Ctrl and ]), or the VM ends. The
    terminal is then as it was before, whatever the guest did to it.

    Input can come from a pipe or a file as well: 'echo uptime | kvmctl console web1'. At its end kvmctl stays until
    the guest has said nothing for --linger seconds ('inf' stays until the VM ends), so that its answer is seen.
    --timeout bounds the whole session.

    The console is one client's at a time. Where another has it this is refused; --force takes it over, and ends the
    other one's session. The guest must use its serial line: 'serial: true' in the spec, and 'console=ttyS0' on
    the command line of a Linux kernel.

    What the guest says is printed as it is, so -o changes nothing but the form of errors. The size of the window is
    not passed on, since a serial line has none: 'stty rows 50 cols 132' in the guest sets it.

    \b
    Exit codes:
      0  left with ^], or the input or the VM ended
      3  there is no such VM, or it has no serial console
      5  the VM is not running, or another client has (or took) the console
      7  the host is unreachable, or the connection was lost
      8  the session lasted --timeout seconds, or the guest did not read its input
    """
    from kvmctl.host.console import finish, open_line
    from kvmctl.host.conversation import Conversation, descriptors

    keyboard, screen = descriptors()
    target = app.target()
    app.warn_of(target)
    with open_line(target, vm, force=force, timeout=app.settings.timeout) as line:
        talk = Conversation(
            line.descriptor, keyboard=keyboard, screen=screen, linger=linger, limit=app.settings.timeout
        )
        if talk.terminal:
            app.output.say(f"Connected to {line.vm}; press ^] to leave")
        ending = talk.run()
        said = finish(line, ending)
    if said:
        app.output.say(said)
