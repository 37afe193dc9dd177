"""`kvmctl pci mdev create`: make a mediated device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import mdev_types, pci_devices
from kvmctl.commands._options import read
from kvmctl.commands._vms import each
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


def _uuid(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    from uuid import uuid4

    from kvmctl.spec.kinds import UUID

    return read("--uuid", UUID.parse, value) or str(uuid4())


@command("create")
@click.argument("kind", metavar="TYPE", shell_complete=mdev_types)
@click.option("--parent", metavar="DEVICE", default="", shell_complete=pci_devices, help="Of this device.")
@click.option("--node", type=click.IntRange(min=0), metavar="N", help="Near this NUMA node, if there is room.")
@click.option("--uuid", metavar="UUID", callback=_uuid, help="Its UUID; a new one if left out.")
@click.option("--define", is_flag=True, help="Keep how it is made, so that it can be started again after a boot.")
@click.option("--autostart", is_flag=True, help="Define it, and make it again at each boot.")
@click.pass_obj
def create(app: App, kind: str, parent: str, node: int | None, uuid: str, define: bool, autostart: bool) -> None:
    """Make a mediated device of a type.

    TYPE is one that 'kvmctl pci mdev list' shows. It is made of the device of the lowest address that has room for it,
    unless one is named, or a node to be near to. That the host needs the device is no obstacle: it keeps it.

    VMs get it by its UUID (pci: [{mdev: UUID}], kvmctl pci attach VM mdev:UUID), or by its type, as long as no other VM
    has it. A VM that is given a type has an mdev made for it if none is free, with --autostart, so this is seldom
    needed. An mdev outlives its VM, for the next one to have.

    One of that UUID that is there already is defined, started, or set to start, as asked. libvirt needs the program
    mdevctl on the host.

    \b
    With -o json it prints one object: the fields of 'kvmctl pci mdev list', and
      changed         false if all was so already

    \b
    Examples:
      kvmctl pci mdev create nvidia-35 --autostart
      kvmctl pci mdev create i915-GVTg_V5_4 --parent 00:02.0

    \b
    Exit codes:
      0  done
      2  the options are wrong
      3  the host has no such type, or no such device
      5  there is no room for another, or the host has no mdevctl
      6  one of that UUID is there already, of another type or device
    """
    from kvmctl.host.pci.mdevs import create as make

    each(
        app,
        [kind],
        lambda host, kind, work: make(
            host, kind, uuid=uuid, address=parent, node=node, define=define, autostart=autostart
        ),
        sentence=_sentence,
    )


def _sentence(item: dict[str, Any]) -> str:
    kept = ", made at each boot" if item["autostart"] else ", defined" if item["defined"] else ""
    verb = "is" if item["changed"] else "was already"
    return f"{item['uuid']} {verb} an mdev {item['type']} of {item['parent']}{kept}"
