"""Options and sentences of the verbs that change a running VM, its next boot, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kvmctl.errors import UsageError


def when_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--now, --next-boot and --dry-run."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option("--next-boot", is_flag=True, help="Change what holds from the next boot on, and nothing now."),
        click.option("--now", is_flag=True, help="Change the running VM alone; its next boot is as before."),
    ):
        function = option(function)
    return function


def check_when(now: bool, next_boot: bool) -> None:
    if now and next_boot:
        raise UsageError("usage", "--now and --next-boot exclude each other; without either, both are changed")


def when(item: dict[str, Any]) -> str:
    """When it holds, for people."""
    if not item["now"]:
        return "from the next boot on"
    if not item["next_boot"]:
        return "now"
    return f"now{', but for what follows,' if item['postponed'] else ''} and from the next boot on"
