"""`kvmctl pci attach`: give devices of the host to a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import attachable, vm_names
from kvmctl.commands._devices import given
from kvmctl.commands._options import ON_OFF, force_device_option, read
from kvmctl.commands._vms import each
from kvmctl.commands._when import check_when, when_options
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


def _mac(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from kvmctl.spec.kinds import MAC

    return read("--mac", MAC.parse, value)


@command("attach")
@click.argument("vm", metavar="VM", shell_complete=vm_names)
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE…", shell_complete=attachable)
@click.option("--mac", metavar="MAC", callback=_mac, help="Of a virtual function: its MAC address, set by its card.")
@click.option("--vlan", type=click.IntRange(1, 4094), metavar="N", help="Of a virtual function: the VLAN it is in.")
@click.option("--trust", type=ON_OFF, help="Of a virtual function: whether the guest may change its address.")
@click.option("--spoof-check", type=ON_OFF, help="Of a virtual function: whether packets from others are dropped.")
@force_device_option("pci")
@when_options
@click.pass_obj
def attach(
    app: App,
    vm: str,
    devices: tuple[str, ...],
    mac: str | None,
    vlan: int | None,
    trust: str | None,
    spoof_check: str | None,
    forced: tuple[str, ...],
    now: bool,
    next_boot: bool,
    dry_run: bool,
) -> None:
    """Give devices to a VM, also while it runs.

    DEVICE is an address, a network interface or disk of the host, vendor:product, a class (gpu, nvme, nic, storage,
    usb, audio, accelerator), serial:…, alias:… (of config.yaml), or vf_of:eth0 for any free virtual function. Of
    several that fit one is taken that is near the VM's memory and free. mdev:TYPE is part of a device, a vGPU for
    example: a mediated device of that type that no VM has, or else a new one; mdev:UUID is a certain one.

    Both the running VM and its next boot get them, unless one is asked for; all of them, or none. Before anything is
    touched it is looked at what the host needs, what shares an IOMMU group, who has the device, and whether the host
    can give devices at all; every reason against it is told at once.

    With --mac, --vlan, --trust or --spoof-check, DEVICE is a virtual function, and the VM gets it as a network card.
    Trust is off and the spoof check is on unless something else is said; a running VM gets what else is said from root
    on the host itself alone.

    \b
    With -o json it prints one object with the fields
      name, uuid, state, host
      changed         false if the VM has had all of them
      now, next_boot  whether the running VM was changed, and its definition
      devices         the addresses, and the UUIDs of mediated devices
      notes           in sentences
      dry_run

    \b
    Examples:
      kvmctl pci attach web1 nvme
      kvmctl pci attach web1 vf_of:eth2 --mac 52:54:00:12:34:56 --vlan 42
      kvmctl pci attach router vf_of:eth2 --trust on --spoof-check off
      kvmctl pci attach web1 3b:00.0 3b:00.1 --next-boot
      kvmctl pci attach web1 mdev:nvidia-35

    \b
    Exit codes:
      0  done
      2  the options are wrong
      3  there is no such VM or device
      5  refused: the host needs it, it is another's, or it is unsafe
      8  not done in time, and undone
    """
    check_when(now, next_boot)

    from kvmctl.host.pci.attaching import attach as give

    said = {key: word == "on" for key, word in (("trust", trust), ("spoof_check", spoof_check)) if word}
    options: dict[str, Any] = {"mac": mac, "vlan": vlan, "now": now, "next_boot": next_boot, "dry_run": dry_run}
    each(
        app,
        [vm],
        lambda host, name, work: give(host, name, devices, work, forced=forced, said=said, **options),
        sentence=given,
    )
