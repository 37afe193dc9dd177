"""`kvmctl usb list`: the USB devices of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.columns import Field
from kvmctl.commands._devices import shown, users
from kvmctl.commands.host import _hosts
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App

ROOM = 28

FIELDS = (
    Field("port"),
    Field("place", "BUS:DEV"),
    Field("ids", "IDS"),
    Field("what", "DEVICE"),
    Field("verdict"),
    Field("used_by", show=users),
    Field("drivers", wide=True),
    Field("serial", wide=True),
    Field("reason", wide=True),
)


@command("list")
@_hosts.host_arguments(many=False)
@click.option("--free", is_flag=True, help="Only those that a VM can have.")
@click.pass_obj
def list_(app: App, named: str | None, free: bool) -> None:
    """List a host's USB devices, who uses them, and whether a VM can.

    Each is named by the port that it is plugged into, as Linux and 'lsusb -t' name it: 1-1.4 is the fourth port of the
    hub on the first port of bus 1. Hubs are not listed, since no VM can have them.

    The verdict is one of

    \b
      free            a VM can have it
      in-use          a running VM has it
      needed          the host cannot do without it
      not-assignable  this libvirt has no right to it

    What the host needs is seen where kvmctl runs on it: file systems in any mount namespace, swap, whatever else has a
    disk for itself, addresses, default routes, bridges, the way by which this very connection comes in, programs that
    have a device open. Of another host libvirt tells none of that: there whatever carries a disk or a network
    interface counts as needed.

    \b
    With -o json it prints an array of objects with the fields
      name, port      1-1.4
      bus, device     numbers; the latter is another each time it is plugged in
      vendor, product: four hex digits; vendor_name, product_name
      serial          or null
      drivers         of the host, that have one of its interfaces
      interfaces, blocks: names of network interfaces and disks
      used_by         by (vm, host), name, running, code, reason
      verdict, reason
      host

    \b
    Examples:
      kvmctl usb list
      kvmctl usb list host2 --free -o wide

    \b
    Exit codes:
      0  listed
      5  the host does not tell its devices
      7  the host cannot be reached, or does not let us in
    """
    from kvmctl.host.usb.inventory import inventory
    from kvmctl.plan.usb.listing import listed

    _hosts.targets(app, named)
    with app.host(readonly=True) as host:
        known = inventory(host)
    found = listed(known, free=free)
    if not app.output.machine:
        for item in found:
            item["ids"] = f"{item['vendor']}:{item['product']}"
            item["place"] = f"{item['bus']}:{item['device']}"
            item["what"] = shown(item, ROOM)
        for sentence in known.missing:
            app.output.say(f"note: {sentence}")
    app.output.items(found, FIELDS)
