"""What the commands about devices of a host, on whatever bus, say alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from kvmctl.commands._options import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.shell_completion import CompletionItem

    Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def device_arguments(
    bus: Literal["usb", "scsi"], complete: Complete
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """DEVICE…, one or many; the function gets words, `devices`, of which each says which device of that bus."""

    def words(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
        if not value:
            return ()
        if bus == "usb":
            from kvmctl.spec.model.usb import WHICH
        else:
            from kvmctl.spec.model.scsi import WHICH
        return tuple(read("DEVICE", WHICH.parse, text) or "" for text in value)

    return click.argument(
        "devices", nargs=-1, required=True, metavar="DEVICE…", callback=words, shell_complete=complete
    )


def users(users: Sequence[dict[str, Any]]) -> str:
    """Who has a device, in short; of several needs of the host the first."""
    vms = [user["name"] for user in users if user["by"] == "vm"]
    needs = [f"host: {user['code']}" for user in users if user["by"] == "host"][:1]
    return ", ".join(vms + needs) or "-"


def shown(item: dict[str, Any], room: int) -> str:
    """What a device is, in short: its interfaces and disks, or else its name."""
    names = [*item["interfaces"], *item["blocks"]]
    return ",".join(names) or (item["product_name"] or f"{item['vendor']}:{item['product']}")[:room].strip()


def given(item: dict[str, Any]) -> str:
    """That a VM has devices now."""
    verb = "would have" if item["dry_run"] else "has" if item["changed"] else "has had"
    return "\n".join([f"{item['name']}: {verb} {_told(item)}", *(f"  {note}" for note in item["notes"])])


def taken(item: dict[str, Any]) -> str:
    """That a VM has given devices back."""
    return f"{item['name']}: {'would give back' if item['dry_run'] else 'gave back'} {_told(item)}"


def _told(item: dict[str, Any]) -> str:
    return f"{', '.join(item['devices'])}{'' if item['now'] else ', from its next boot on'}"
