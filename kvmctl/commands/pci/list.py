"""`kvmctl pci list`: the PCI devices of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.columns import Field
from kvmctl.commands._devices import shown, users
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App

KINDS = ("gpu", "nvme", "nic", "storage", "usb", "audio", "accelerator")
ROOM = 22

FIELDS = (
    Field("address"),
    Field("class"),
    Field("device"),
    Field("iommu_group", "GROUP", right=True),
    Field("numa_node", "NODE", right=True),
    Field("verdict"),
    Field("used_by", show=users),
    Field("driver", wide=True),
    Field("ids", "IDS", wide=True),
    Field("reason", wide=True),
)


@command("list")
@click.option("--class", "kind", type=click.Choice(KINDS), help="Only devices of this kind.")
@click.option("--vendor", metavar="TEXT", default="", help="Only those of a vendor: four hex digits or part of a name.")
@click.option("--node", type=click.IntRange(min=0), metavar="N", help="Only those of this NUMA node.")
@click.option("--free", is_flag=True, help="Only those that a VM can have.")
@click.pass_obj
def list_(app: App, kind: str | None, vendor: str, node: int | None, free: bool) -> None:
    """List a host's PCI devices, who uses them, and whether a VM can.

    The verdict is one of

    \b
      free             a VM can have it
      free-with-group  it can, together with others of its IOMMU group
      in-use           a running VM has it, or one of its group
      needed           the host cannot do without it, or one of its group
      not-assignable   a bridge, part of the board, or there is no IOMMU

    What the host needs is seen where kvmctl runs on it: file systems in any mount namespace, swap, RAID, LVM, encrypted
    and multipath disks, whatever else has a disk for itself, addresses, default routes, bridges, bonds, the way by
    which this very connection comes in, the console's graphics card. Of another host libvirt tells none of that: there
    whatever carries a disk or a network interface counts as needed, but for virtual functions that are down.

    \b
    With -o json it prints an array of objects with the fields
      name, address   0000:3b:00.0
      class           in a word; class_code: as a number
      vendor, product: four hex digits; vendor_name, product_name
      driver          of the host, or null
      iommu_group     number, or null; iommu_group_members: addresses
      numa_node       or null
      physical_function  of a virtual function, or null
      virtual_functions, most_virtual_functions
      mdev_types      id, name, free
      interfaces, blocks: names of network interfaces and disks
      serial          or null
      resets          ways to reset it alone, or null if not known
      used_by         by (vm, host), name, running, code, reason
      verdict, reason, along (what must go along with it)
      host

    \b
    Examples:
      kvmctl pci list --free
      kvmctl pci list --class nic -o wide
      kvmctl pci list -H host2 --node 1

    \b
    Exit codes:
      0  listed
      5  the host does not tell its devices
      7  the host cannot be reached, or does not let us in
    """
    from kvmctl.host.pci.inventory import inventory
    from kvmctl.plan.pci.listing import listed

    with app.host(readonly=True) as host:
        known = inventory(host)
    found = listed(known, kind=kind or "", vendor=vendor, node=node, free=free)
    if not app.output.machine:
        for item in found:
            item["ids"] = f"{item['vendor']}:{item['product']}"
            item["device"] = shown(item, ROOM)
        for sentence in known.missing:
            app.output.say(f"note: {sentence}")
    app.output.items(found, FIELDS)
