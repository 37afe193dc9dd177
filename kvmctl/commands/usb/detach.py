"""`kvmctl usb detach`: take USB devices of the host away from a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._complete import usb_devices, vm_names
from kvmctl.commands._devices import device_arguments, taken
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when_options
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App

SECONDS = 60.0
"""How long QEMU may take to let go of them."""


@command("detach")
@click.argument("vm", metavar="VM", shell_complete=vm_names)
@device_arguments("usb", usb_devices)
@when_options
@click.pass_obj
def detach(app: App, vm: str, devices: tuple[str, ...], now: bool, next_boot: bool, dry_run: bool) -> None:
    """Take USB devices away from a VM, also while it runs.

    DEVICE is vendor:product, bus:device or a port, also of a device that was unplugged meanwhile. It is waited until
    the VM has let go of each, for 60 seconds or --timeout. Afterwards the host's own driver has it again.

    \b
    With -o json it prints one object with the fields
      name, uuid, state, host, changed
      now, next_boot  whether the running VM was changed, and its definition
      devices         the ports; of what is unplugged vendor:product
      notes, dry_run

    \b
    Examples:
      kvmctl usb detach web1 046d:c52b
      kvmctl usb detach web1 1-1.4 --next-boot

    \b
    Exit codes:
      0  done
      3  there is no such VM, or it has no such device
      5  it has several that are alike
      8  it has not let go of it in time
    """
    check_when(now, next_boot)

    from kvmctl.host.usb.attaching import detach as take

    each(
        app,
        [vm],
        lambda host, name, work: take(host, name, devices, work, now=now, next_boot=next_boot, dry_run=dry_run),
        sentence=taken,
        seconds=SECONDS,
    )
