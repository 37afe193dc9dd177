"""`kvmctl export`: the spec of a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import vm_names
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("export")
@click.argument("vm", metavar="VM", shell_complete=vm_names)
@click.option("--file", "path", metavar="FILE", help="Write to this file, which must not exist; else to stdout.")
@click.option("--short", is_flag=True, help="Leave out what libvirt gives a new VM by itself, addresses for example.")
@click.pass_obj
def export(app: App, vm: str, path: str | None, short: bool) -> None:
    """Write a VM's spec.

    Any VM that libvirt knows can be exported, whatever made it. 'kvmctl create' makes the same VM from the spec: what
    the language has no key for, such as the addresses that libvirt gave to devices, is kept as raw_xml. With --short
    the spec is for reading: a VM made of it is alike, but its devices may stand at other addresses, and where kvmctl
    has chosen the CPUs it runs on, it says pin: auto instead of them.

    To copy a VM instead of moving it, take out uuid and the mac of each card, and change name and disks.

    With -o json it prints the spec as one JSON object.
    """
    from kvmctl.commands._specs import write_new
    from kvmctl.commands._vms import each
    from kvmctl.spec.nodes import to_yaml

    def deed(host: Host, name: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.definition import exported

        return exported(host, name, short=short)

    def answer(items: Sequence[dict[str, Any]], single: bool) -> None:
        if path is not None:
            write_new(path, to_yaml(items[0]))
            app.output.say(f"wrote {path}")
        else:
            app.output.text(to_yaml(items[0]), items[0])

    each(app, [vm], deed, answer=answer, readonly=True)
