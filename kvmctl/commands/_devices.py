"""What the commands about devices of a host, on whatever bus, say alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


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
