"""`kvmctl usb attach`: give USB devices of the host to a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import usb_devices, vm_names
from kvmctl.commands._devices import device_arguments, given
from kvmctl.commands._options import force_device_option
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when_options
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("attach")
@click.argument("vm", metavar="VM", shell_complete=vm_names)
@device_arguments("usb", usb_devices)
@force_device_option("usb")
@when_options
@click.pass_obj
def attach(
    app: App, vm: str, devices: tuple[str, ...], forced: tuple[str, ...], now: bool, next_boot: bool, dry_run: bool
) -> None:
    """Give USB devices to a VM, also while it runs.

    DEVICE is vendor:product (046d:c52b), bus:device (3:7 or 003:007) or a port (1-1.4), as lsusb, 'lsusb -t' and
    'kvmctl usb list' show them.

    Both the running VM and its next boot get them, unless one is asked for; all of them, or none. What the host needs
    and what another running VM has is refused first, every reason at once. --force-host-device PORT takes a device
    from the host all the same.

    The VM keeps a device by vendor and product, so that it is found again in any port. Where the host has several
    alike, bus and device number are kept too: these are others when the device is plugged in again, or the host boots.

    \b
    With -o json it prints one object with the fields
      name, uuid, state, host
      changed         false if the VM has had all of them
      now, next_boot  whether the running VM was changed, and its definition
      devices         the ports
      notes           in sentences
      dry_run

    \b
    Examples:
      kvmctl usb attach web1 046d:c52b
      kvmctl usb attach web1 1-1.4 3:7 --next-boot

    \b
    Exit codes:
      0  done
      2  the options are wrong
      3  there is no such VM or device
      5  refused: the host needs it, it is another's, or several are alike
    """
    check_when(now, next_boot)

    from kvmctl.host.usb.attaching import attach as give

    options: dict[str, Any] = {"now": now, "next_boot": next_boot, "dry_run": dry_run}
    each(app, [vm], lambda host, name, work: give(host, name, devices, work, forced=forced, **options), sentence=given)
