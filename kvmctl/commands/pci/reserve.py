"""`kvmctl pci reserve`: keep devices for VMs from boot on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import pci_devices
from kvmctl.commands._options import force_device_option
from kvmctl.commands._vms import each
from kvmctl.errors import UsageError
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.app import App

SECONDS = 600.0
"""An initramfs is made for each kernel that is installed."""


@command("reserve")
@click.argument("devices", nargs=-1, metavar="[DEVICE…]", shell_complete=pci_devices)
@click.option("--install", is_flag=True, help="Write the files, and make the initramfs again.")
@click.option("--remove", is_flag=True, help="Keep these no longer; with --install.")
@force_device_option("pci")
@click.pass_obj
def reserve(app: App, devices: tuple[str, ...], install: bool, remove: bool, forced: tuple[str, ...]) -> None:
    """Keep devices for VMs from boot on.

    The drivers of the host never have them then. Most devices need no such thing, since libvirt takes them from their
    drivers when a VM starts: it is for those whose drivers do not let go, graphics cards above all, and for those that
    the host should never touch.

    It prints the files that this distribution needs, and the command that makes its initramfs again; with --install it
    writes and runs them. Devices are named by address, so that of two that are alike the other stays with the host.
    What shares an IOMMU group goes along, and what the host needs is refused. It holds from the next boot on. Without
    DEVICE it shows what is kept already.

    \b
    With -o json it prints one object with the fields
      name, host
      devices    the addresses that are kept then, new and old
      files      path, mode, text
      command    what is to be run afterwards; null: nothing
      installed, changed
      notes      what a person should know, in sentences

    \b
    Examples:
      kvmctl pci reserve gpu
      sudo kvmctl pci reserve 0000:3b:00.0 --install
      sudo kvmctl pci reserve 0000:3b:00.0 --remove --install

    \b
    Exit codes:
      0  printed, or installed
      3  there is no such device, or it is not kept
      5  the host needs it, or this is not to be said from here
      8  the initramfs was not ready in time, and all files are as they were
    """
    if (install or remove) and not devices:
        raise UsageError("usage", "say which devices are meant")

    from kvmctl.host.pci.reserving import reserve as keep

    each(
        app,
        [devices],
        lambda host, words, work: keep(host, words, work, forced=forced, remove=remove, install=install),
        name=" ".join,
        answer=lambda items, single: _show(app, items),
        seconds=SECONDS,
    )


def _show(app: App, items: Sequence[dict[str, Any]]) -> None:
    [item] = items
    for note in item["notes"]:
        app.output.say(f"note: {note}")
    if item["installed"]:
        kept = f"{', '.join(item['devices'])} kept" if item["devices"] else "no device is kept"
        app.output.say(f"{item['host']}: from the next boot on {kept} for VMs")
        app.output.done(items, single=True)
    else:
        app.output.text(_printed(item), item)


def _printed(item: dict[str, Any]) -> str:
    if not item["devices"]:
        return "# no device is kept for VMs\n"
    files = "".join(f"# {file['path']}, mode {file['mode']}:\n{file['text']}\n" for file in item["files"])
    return f"{files}# then: {item['command'] or 'nothing; no initramfs is made here'}\n"
