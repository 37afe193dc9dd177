"""`kvmctl pci release`: mend what a crash has left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import pci_devices
from kvmctl.commands._vms import each
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("release")
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE…", shell_complete=pci_devices)
@click.pass_obj
def release(app: App, devices: tuple[str, ...]) -> None:
    """Give devices that a crash has left back to their drivers.

    libvirt gives a device back when its VM ends. Where it could not, since it was killed too for example, the device
    stays with vfio-pci, and the host does not see what is on it: 'kvmctl pci list -o wide' shows the driver. A device
    that a running VM has is refused; one that has its own driver already stays as it is.

    \b
    With -o json it prints one object, or an array for several devices, with the fields
      name, address, driver (null: the kernel has none for it), changed, host

    \b
      kvmctl pci release 3b:00.0

    \b
    Exit codes:
      0  done
      3  there is no such device
      5  a running VM has it, or only root can
      9  some of several failed
    """
    from kvmctl.host.pci.releasing import release as give_back

    each(app, devices, lambda host, word, work: give_back(host, word), sentence=_sentence, at_once=1)


def _sentence(item: dict[str, Any]) -> str:
    driver = item["driver"] or "no driver"
    return f"{item['address']}: {driver} has it {'again' if item['changed'] else 'already'}"
