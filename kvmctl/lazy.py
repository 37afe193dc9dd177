"""A Click group that knows its commands by name and summary, and imports one only when it is called.

`--help` and the completion of command names read the registry alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click
from click.shell_completion import CompletionItem

Registry = Mapping[str, tuple[str, str]]
"""name -> ("module:attribute", "One-line summary.")"""


class LazyGroup(click.Group):
    """A group over a registry. `sections` orders the help: heading -> names."""

    def __init__(self, *, registry: Registry, sections: Mapping[str, tuple[str, ...]], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self.registry = registry
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.registry)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.registry:
            return None
        module, attribute = self.registry[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.registry and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.registry, 1)
            also = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{args[0]}'.{also}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.registry))
        for heading, names in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{width}}", self.registry[name][1]) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in self.registry.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)
