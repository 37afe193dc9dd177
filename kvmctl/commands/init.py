"""`kvmctl init`: a starter spec to edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._complete import template_names
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("init")
@click.argument("template", default="linux", shell_complete=template_names)
@click.option("--name", "vm", default="vm1", show_default=True, metavar="NAME", help="Name of the VM in the spec.")
@click.option("--file", "path", metavar="FILE", help="Write to this file, which must not exist; else to stdout.")
@click.pass_obj
def init(app: App, template: str, vm: str, path: str | None) -> None:
    """Write a starter spec.

    TEMPLATE is one of those that come with kvmctl: linux (the default), windows, minimal, kernel. The result is a
    complete spec with comments; edit it, and give it to 'kvmctl create'.

    \b
      kvmctl init > web1.yaml
      kvmctl init windows --name desk7 --file desk7.yaml

    With -o json it prints one object with the fields name, template, file (null for stdout) and spec (the text).
    """
    from kvmctl.commands._specs import starter, write_new

    text = starter(template, vm)
    if path is not None:
        write_new(path, text)
        app.output.say(f"wrote {path}; edit it, then run: kvmctl create {path}")
    item = {"name": vm, "template": template, "file": path, "spec": text}
    if path is None or app.output.machine:
        app.output.text(text, item)
