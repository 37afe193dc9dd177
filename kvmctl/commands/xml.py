"""`kvmctl xml`: the libvirt XML of a spec or a VM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import specs_or_vms
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.app import App
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work


@command("xml")
@click.argument("source", metavar="SPEC|VM", shell_complete=specs_or_vms)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of the spec first.")
@click.option("--offline", is_flag=True, help="Ask no host: assume an x86_64 host with KVM.")
@click.option("--next-boot", is_flag=True, help="Of a running VM, what it will be when it starts again.")
@click.pass_obj
def xml(app: App, source: str, settings: tuple[str, ...], offline: bool, next_boot: bool) -> None:
    """Show the libvirt XML of a spec or a VM.

    SPEC|VM is a spec if it is - for standard input, ends in .yaml or .yml, or has a slash in it; else it is the name or
    UUID of a VM. The XML of a spec is what 'kvmctl create' would define on the host; that of a VM is what libvirt has,
    without passwords.

    \b
      kvmctl xml web1.yaml --offline
      kvmctl xml web1 --next-boot

    With -o json it prints an object with the fields name and xml; of a VM also uuid, state and host.
    """
    from kvmctl.commands._specs import is_spec, load
    from kvmctl.commands._vms import each

    spec = load(source, settings) if is_spec(source) else None
    if spec and offline:
        from kvmctl.plan.facts import HostFacts
        from kvmctl.plan.resolve import resolve
        from kvmctl.spec.xmltext import render

        resolved = resolve(spec, HostFacts())
        for note in resolved.notes:
            app.output.say(note)
        text = render(resolved.document())
        app.output.text(text, {"name": spec.name, "xml": text})
        return

    def deed(host: Host, name: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.definition import described, foreseen

        return foreseen(host, spec, work) if spec else described(host, name, next_boot=next_boot)

    def answer(items: Sequence[dict[str, Any]], single: bool) -> None:
        app.output.text(items[0]["xml"], items[0])

    each(app, [source], deed, answer=answer, readonly=True)
