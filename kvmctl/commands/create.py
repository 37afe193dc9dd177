"""`kvmctl create`: VMs from specs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import spec_files
from kvmctl.commands._options import force_device_option
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.spec.model.vm import Vm


@command("create")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…", shell_complete=spec_files)
@click.option("--start", is_flag=True, help="Start each VM when it is made.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of each spec first.")
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")
@force_device_option()
@click.pass_obj
def create(
    app: App,
    specs: tuple[str, ...],
    start: bool,
    settings: tuple[str, ...],
    dry_run: bool,
    forced: tuple[str, ...],
) -> None:
    """Create VMs from specs, with their disks.

    SPEC is a file, or - for standard input; kvmctl-spec(5) tells what it can say. The VM is defined and its new disks
    are made. It is all or nothing: what fails or is interrupted is undone, and what was killed half-way is cleared away
    by the next create of that name, or by delete. Nothing that exists is ever overwritten: a VM or a disk that is there
    already is exit code 6.

    \b
      kvmctl create web1.yaml --start
      kvmctl create web.yaml --set name=web2 --set memory=8GiB --set disks.0.size=40GiB

    Devices that the spec names by what they are (pci: [{class: nvme}], networks: [{hostdev: vf_of:eth0}]) are chosen
    on the host, and kept. What the host needs, or cannot give safely, is refused before anything is made. Of a type of
    mediated devices (pci: [{mdev: nvidia-35}]) one that no VM has is taken, or a new one made.

    Disks of this host that the spec names (disks: [{path: /dev/sdb}]) are looked at, too. One that is mounted or
    swapped to, a member of RAID, LVM, encryption or multipath, one that something else has for itself, or of which a
    partition is so used, is refused; with --start also one that another running VM writes to, unless both say
    shareable. A logical volume may be on whatever the host uses. --force-host-device and the path of that very disk
    give it away all the same, though not to two VMs. The same goes for SCSI devices, also in raw_xml.

    With --dry-run the domain XML is printed. With -o json it prints an object per VM with the fields name, uuid, state,
    host and disks (each with name, path, format, created), and for a dry run xml and dry_run.
    """
    from kvmctl.commands._specs import load_all
    from kvmctl.commands._vms import each

    def deed(host: Host, vm: Vm, work: Work) -> dict[str, Any]:
        from kvmctl.host.create import create as make
        from kvmctl.host.create import planned

        if dry_run:
            return planned(host, vm, work, start=start, forced=forced)
        return make(host, vm, work, start=start, say=app.output.say, forced=forced)

    def sentence(item: dict[str, Any]) -> str:
        return f"{item['name']}: {'would be created' if dry_run else 'created and started' if start else 'created'}"

    def answer(items: Sequence[dict[str, Any]], single: bool) -> None:
        if dry_run and app.settings.output in ("table", "wide"):
            app.output.text("".join(item.get("xml", "") for item in items))
        else:
            app.output.done(items, single=single)

    vms = load_all(specs, settings)
    each(app, vms, deed, name=lambda vm: vm.name or "", sentence=sentence, answer=answer)
