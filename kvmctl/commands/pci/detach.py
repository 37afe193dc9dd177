"""`kvmctl pci detach`: take devices of the host away from a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._complete import pci_devices, vm_names
from kvmctl.commands._devices import taken
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when_options
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App

SECONDS = 60.0
"""How long a guest may take to let go of them."""


@command("detach")
@click.argument("vm", metavar="VM", shell_complete=vm_names)
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE…", shell_complete=pci_devices)
@when_options
@click.pass_obj
def detach(app: App, vm: str, devices: tuple[str, ...], now: bool, next_boot: bool, dry_run: bool) -> None:
    """Take devices away from a VM, also while it runs.

    DEVICE is an address, or what the host calls it. The guest is asked to let go of each, and that is waited for, for
    60 seconds or --timeout; a guest that holds on is told of, and keeps the device. Afterwards the host's own driver
    has it again. A mediated device is named by mdev:TYPE or its UUID, and stays for others to have: 'kvmctl pci mdev
    delete' removes it.

    \b
    With -o json it prints one object with the fields
      name, uuid, state, host, changed
      now, next_boot  whether the running VM was changed, and its definition
      devices         the addresses, and the UUIDs of mediated devices
      notes, dry_run

    \b
    Examples:
      kvmctl pci detach web1 3b:00.0
      kvmctl pci detach web1 3b:00.0 --next-boot

    \b
    Exit codes:
      0  done
      3  there is no such VM, or it has no such device
      8  the guest has not let go of it in time
    """
    check_when(now, next_boot)

    from kvmctl.host.pci.attaching import detach as take

    each(
        app,
        [vm],
        lambda host, name, work: take(host, name, devices, work, now=now, next_boot=next_boot, dry_run=dry_run),
        sentence=taken,
        seconds=SECONDS,
    )
