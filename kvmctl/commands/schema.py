"""`kvmctl schema`: the JSON Schema of specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


@command("schema")
@click.pass_obj
def schema(app: App) -> None:
    """Print the JSON Schema of specs.

    Editors that know JSON Schema complete and check specs with it. It is made from the same declarations as the manual
    page kvmctl-spec(5), and it is printed as JSON unless -o yaml asks for YAML.

    \b
      kvmctl schema > vm.schema.json
      # first line of a spec: # yaml-language-server: $schema=vm.schema.json
    """
    import json

    from kvmctl.spec.schema import json_schema

    document = json_schema()
    app.output.text(json.dumps(document, indent=2), document)
