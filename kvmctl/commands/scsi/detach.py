"""`kvmctl scsi detach`: take SCSI devices of the host away from a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._complete import scsi_devices, vm_names
from kvmctl.commands._devices import device_arguments, taken
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when_options
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App

SECONDS = 60.0
"""How long the guest may take to let go of them."""


@command("detach")
@click.argument("vm", metavar="VM", shell_complete=vm_names)
@device_arguments("scsi", scsi_devices)
@when_options
@click.pass_obj
def detach(app: App, vm: str, devices: tuple[str, ...], now: bool, next_boot: bool, dry_run: bool) -> None:
    """Take SCSI devices away from a VM, also while it runs.

    DEVICE is an address, a name or a path below /dev, a WWN or a serial number; also of a device that the host has no
    more. It is waited until the guest has let go of each, for 60 seconds or --timeout. The controller stays.

    \b
    With -o json it prints one object with the fields
      name, uuid, state, host, changed
      now, next_boot  whether the running VM was changed, and its definition
      devices         the addresses
      notes, dry_run

    \b
    Examples:
      kvmctl scsi detach web1 sdb
      kvmctl scsi detach web1 2:0:0:0 --next-boot

    \b
    Exit codes:
      0  done
      3  there is no such VM, or it has no such device
      8  the guest has not let go of it in time
    """
    check_when(now, next_boot)

    from kvmctl.host.scsi.attaching import detach as take

    each(
        app,
        [vm],
        lambda host, name, work: take(host, name, devices, work, now=now, next_boot=next_boot, dry_run=dry_run),
        sentence=taken,
        seconds=SECONDS,
    )
