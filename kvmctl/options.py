"""The options that every command takes, declared once: the root group has them, and so has each command.

`command()` is how commands are made. An option given after the command wins over one given before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kvmctl.app import App

FORMATS = ("table", "wide", "json", "yaml", "name")
Function = TypeVar("Function", bound=Callable[..., Any])


def _store(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value not in (None, (), False) and parameter.name:
        setattr(ctx.ensure_object(App).settings, parameter.name, value)


def _complete_hosts(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from kvmctl.commands._complete import host_names

    return host_names(incomplete)


def shared_options() -> list[click.Option]:
    """Fresh option objects, since Click binds an option to one command."""
    shared: dict[str, Any] = {"expose_value": False, "callback": _store}
    return [
        click.Option(
            ["-H", "--host", "hosts"],
            multiple=True,
            metavar="HOST",
            help="Host to talk to: an alias from config.yaml, a libvirt URI, or 'embedded'.",
            shell_complete=_complete_hosts,
            **shared,
        ),
        click.Option(["-o", "--output"], type=click.Choice(FORMATS), help="Form of the answer.", **shared),
        click.Option(["-q", "--quiet"], is_flag=True, help="Say nothing but errors on stderr.", **shared),
        click.Option(["-v", "--verbose"], is_flag=True, help="Say more on stderr.", **shared),
        click.Option(["--debug"], is_flag=True, help="Show a traceback with an error.", **shared),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Longest time to wait for what the command waits for.",
            **shared,
        ),
    ]


class Command(click.Command):
    """A command with the shared options at the end of its own."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params.extend(shared_options())


def command(name: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a kvmctl command; its docstring is the help and the man page."""
    return click.command(name, cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
