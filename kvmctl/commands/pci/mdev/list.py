"""`kvmctl pci mdev list`: types of mediated devices, and the mediated devices there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.columns import Field, plain
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.app import App


def _users(users: Sequence[dict[str, Any]]) -> str:
    return plain([user["name"] if user["running"] else f"{user['name']} (stopped)" for user in users])


FIELDS = (
    Field("parent"),
    Field("type"),
    Field("title", "NAME"),
    Field("free", right=True),
    Field("uuid", "UUID"),
    Field("active"),
    Field("defined"),
    Field("autostart"),
    Field("used_by", show=_users),
)


@command("list")
@click.pass_obj
def list_(app: App) -> None:
    """List what devices can be cut into, and the parts there are.

    First each type of mediated devices (mdevs) that a device has, with how many more there can be; below it the mdevs
    of that type, also those that are defined and not there now. Types come from the driver of the device: a GPU's
    own driver for vGPUs, for example, which may want virtual functions to be made first.

    \b
    With -o json it prints an array of objects with the fields
      kind            type or mdev
      name            the type, or the UUID
      parent          address of the device
      type, title     the type, and what its driver calls it, or null
      free            of a type how many more there can be, else null
      uuid            of an mdev, and so are
      active          whether it is there
      defined         whether libvirt keeps how it is made
      autostart       whether it is made at each boot
      used_by         by (vm), name, running
      host

    \b
    Examples:
      kvmctl pci mdev list
      kvmctl pci mdev list -H host2 -o json

    \b
    Exit codes:
      0  listed
      5  the host does not tell its devices
      7  the host cannot be reached, or does not let us in
    """
    from kvmctl.host.pci.inventory import inventory
    from kvmctl.plan.pci.listing import mdevs_listed

    with app.host(readonly=True) as host:
        known = inventory(host)
    app.output.items(mdevs_listed(known), FIELDS)
