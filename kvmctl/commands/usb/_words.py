"""DEVICE… of the commands about USB devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from kvmctl.commands._complete import usb_devices
from kvmctl.commands._options import read


def device_arguments() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One or many; the function gets words, `devices`, of which each says which device."""
    return click.argument(
        "devices", nargs=-1, required=True, metavar="DEVICE…", callback=_words, shell_complete=usb_devices
    )


def _words(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
    if not value:
        return ()
    from kvmctl.spec.model.usb import WHICH

    return tuple(read("DEVICE", WHICH.parse, text) or "" for text in value)
