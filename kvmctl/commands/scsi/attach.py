"""`kvmctl scsi attach`: give SCSI devices of the host to a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import scsi_devices, vm_names
from kvmctl.commands._devices import device_arguments, given
from kvmctl.commands._options import force_device_option
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when_options
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("attach")
@click.argument("vm", metavar="VM", shell_complete=vm_names)
@device_arguments("scsi", scsi_devices)
@click.option("--readonly", is_flag=True, help="The guest cannot write to them.")
@click.option("--shareable", is_flag=True, help="Several VMs may have them at once, if each says so.")
@force_device_option("scsi")
@when_options
@click.pass_obj
def attach(
    app: App,
    vm: str,
    devices: tuple[str, ...],
    readonly: bool,
    shareable: bool,
    forced: tuple[str, ...],
    now: bool,
    next_boot: bool,
    dry_run: bool,
) -> None:
    """Give SCSI devices to a VM, also while it runs.

    DEVICE is an address (2:0:0:0), a name or a path below /dev (sdb, st0, /dev/disk/by-id/…), a WWN
    (0x5000c500a1b2c3d4) or a serial number, as 'kvmctl scsi list' shows them. The guest speaks SCSI to the device
    itself, and so has tapes, changers and all that a disk can do. A VM without a SCSI controller gets one of
    virtio-scsi.

    Both the running VM and its next boot get them, unless one is asked for; all of them, or none. What the host needs
    and what another running VM has is refused first, every reason at once, also by another way to the same device.
    --force-host-device ADDRESS takes a device from the host all the same.

    The VM keeps what the device is, by WWN and serial number, since the host's next boot may give it another address.
    'kvmctl start' finds it again, and refuses to start without it. Whoever else starts the VM goes by the address
    alone.

    \b
    With -o json it prints one object with the fields
      name, uuid, state, host
      changed         false if the VM has had all of them
      now, next_boot  whether the running VM was changed, and its definition
      devices         the addresses
      notes           in sentences
      dry_run

    \b
    Examples:
      kvmctl scsi attach web1 /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
      kvmctl scsi attach backup1 st0 4:0:1:0 --next-boot

    \b
    Exit codes:
      0  done
      2  the options are wrong
      3  there is no such VM or device
      5  refused: the host needs it, it is another's, or several are called so
    """
    check_when(now, next_boot)

    from kvmctl.host.scsi.attaching import attach as give

    options: dict[str, Any] = {"now": now, "next_boot": next_boot, "dry_run": dry_run, "forced": forced}
    options |= {"readonly": readonly, "shareable": shareable}
    each(app, [vm], lambda host, name, work: give(host, name, devices, work, **options), sentence=given)
