"""`kvmctl scsi list`: the SCSI devices of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.columns import Field, size
from kvmctl.commands._devices import users
from kvmctl.commands.host import _hosts
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App

FIELDS = (
    Field("address"),
    Field("kind"),
    Field("what", "DEVICE"),
    Field("node", "NAME"),
    Field("size", show=size),
    Field("verdict"),
    Field("used_by", show=users),
    Field("wwn", wide=True),
    Field("serial", wide=True),
    Field("reason", wide=True),
)


@command("list")
@_hosts.host_arguments(many=False)
@click.option("--free", is_flag=True, help="Only those that a VM can have.")
@click.pass_obj
def list_(app: App, named: str | None, free: bool) -> None:
    """List a host's SCSI devices, who uses them, and whether a VM can.

    Each is named by its address of adapter, channel, target and LUN, as Linux and lsscsi name it: 2:0:0:0. SATA and
    USB disks are among them, since Linux speaks SCSI to these too; NVMe disks are not: see 'kvmctl pci list'.

    The verdict is one of

    \b
      free            a VM can have it
      in-use          a running VM has it
      needed          the host cannot do without it
      not-assignable  it controls an array, or this libvirt cannot reach it

    What the host needs is seen where kvmctl runs on it: file systems in any mount namespace, swap, LVM, RAID,
    encryption, multipath, whatever else has a disk for itself, programs that have a device open. Of another host
    libvirt tells none of that: there every disk counts as needed. Where several ways lead to one device, each counts
    as used by all.

    \b
    With -o json it prints an array of objects with the fields
      name, address   2:0:0:0
      kind            disk, tape, cd/dvd, changer, enclosure, ...
      vendor, model   as the device tells them, or null
      serial, wwn     or null
      block           its name as a disk, sdb, or null
      nodes           all names that the kernel has for it
      size            in bytes, or null
      used_by         by (vm, host), name, running, code, reason
      verdict, reason
      host

    \b
    Examples:
      kvmctl scsi list
      kvmctl scsi list host2 --free -o wide

    \b
    Exit codes:
      0  listed
      5  the host does not tell its devices
      7  the host cannot be reached, or does not let us in
    """
    from kvmctl.host.scsi.inventory import inventory
    from kvmctl.plan.scsi.listing import listed

    _hosts.targets(app, named)
    with app.host(readonly=True) as host:
        known = inventory(host)
    found = listed(known, free=free)
    if not app.output.machine:
        for item in found:
            item["what"] = " ".join(filter(None, (item["vendor"], item["model"]))) or "-"
            item["node"] = item["block"] or next(iter(item["nodes"]), "-")
        for sentence in known.missing:
            app.output.say(f"note: {sentence}")
    app.output.items(found, FIELDS)
