"""`kvmctl pci mdev delete`: remove mediated devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._complete import mdev_uuids
from kvmctl.commands._options import read
from kvmctl.commands._vms import each
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


def _uuids(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> list[str]:
    from kvmctl.spec.kinds import UUID

    return list(dict.fromkeys(read("UUID", UUID.parse, text) or "" for text in value))


@command("delete")
@click.argument("uuids", nargs=-1, required=True, metavar="UUID…", callback=_uuids, shell_complete=mdev_uuids)
@click.pass_obj
def delete(app: App, uuids: list[str]) -> None:
    """Remove mediated devices that no VM has.

    They go at once, and are not made again at the next boot. One that a VM has is refused, whether the VM runs or is
    only defined.

    \b
    With -o json it prints one object, or an array for several, with the fields of 'kvmctl pci mdev list', and changed.

    \b
    Examples:
      kvmctl pci mdev delete c2177883-f1bb-47f0-914d-32a22e3a8804

    \b
    Exit codes:
      0  done
      2  that is no UUID
      3  the host has no such mdev
      5  a VM has it, or the host has no mdevctl
      9  some of several failed
    """
    from kvmctl.host.pci.mdevs import delete as remove

    each(
        app,
        uuids,
        lambda host, uuid, work: remove(host, uuid),
        sentence=lambda item: f"{item['uuid']}: is gone",
    )
