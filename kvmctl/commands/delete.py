"""`kvmctl delete`: VMs, and their disks if asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._options import vm_arguments
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("delete")
@vm_arguments()
@click.option("--force", is_flag=True, help="Pull the plug of a VM that is running.")
@click.option("--disks", is_flag=True, help="Delete its disks too.")
@click.pass_obj
def delete(app: App, vms: list[str], force: bool, disks: bool) -> None:
    """Delete VMs, and their disks if asked.

    VM is a name or UUID. What belongs to the definition goes with it: UEFI variables, TPM state, a saved state and
    what libvirt knows of snapshots and checkpoints. Nothing is asked; a running VM is refused (exit code 5)
    unless --force is given.

    Disks are kept unless --disks is given. Then those files go that the VM's own definition names as its disks. Kept,
    and said so, are read-only and shareable disks, CD and floppy images, block devices and disks on the network. If
    another VM or another disk needs one of the files, nothing at all is deleted (exit code 5). A delete that was killed
    half-way can simply be done again.

    A VM that an interrupted create left behind is removed with the disks that were being made for it.

    \b
      kvmctl delete web1
      kvmctl delete --force --disks web1 web2

    With -o json it prints an object per VM with the fields name, uuid, state (deleted), host, disks_deleted
    (paths), disks_kept (each with path and reason) and notes (which VMs were moved, now that the CPUs that it had alone
    are free).

    \b
    Exit codes:
      0  all are deleted
      3  there is no such VM
      5  it is running, or a disk is used elsewhere
      6  it was started meanwhile
      9  some of several failed
    """
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.deletion import delete as perform

        return perform(host, vm, work, force=force, disks=disks)

    each(app, vms, deed, sentence=_sentence)


def _sentence(item: dict[str, Any]) -> str:
    """A line for the deed, and one for each disk."""
    gone = [f"  deleted {path}" for path in item["disks_deleted"]]
    kept = [f"  kept {disk['path']}: {disk['reason']}" for disk in item["disks_kept"]]
    return "\n".join([f"{item['name']}: deleted", *gone, *kept, *(f"  {note}" for note in item["notes"])])
