"""`kvmctl validate`: are these specs right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.commands._complete import spec_files
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("validate")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…", shell_complete=spec_files)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key of each spec first.")
@click.pass_obj
def validate(app: App, specs: tuple[str, ...], settings: tuple[str, ...]) -> None:
    """Check specs; say all mistakes with their places.

    SPEC is a file, or - for standard input. No host is asked: what depends on one is checked by 'kvmctl create
    --dry-run'. Every mistake of every spec is told at once, with file, line, column and key, the line itself and what
    to write instead.

    With -o json it prints an object per spec with the fields name, file and valid; if there are mistakes, an error
    object whose field where lists them. The exit code is then 4.
    """
    from kvmctl.commands._specs import load_all

    made = load_all(specs, settings)
    for path, vm in zip(specs, made):
        app.output.say(f"{path}: {vm.name}: no mistakes")
    items = [{"name": vm.name, "file": path, "valid": True} for path, vm in zip(specs, made)]
    app.output.done(items, single=len(items) == 1)
