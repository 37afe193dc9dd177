"""Arguments and options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import click

from kvmctl.commands._complete import vm_names
from kvmctl.errors import UsageError

STOP_SECONDS = 60.0
"""How long a guest gets to shut down."""
PLUG_SECONDS = 30.0
"""How long pulling the plug may take: libvirt gives a QEMU that hangs ten seconds before it ends it for good."""

ON_OFF = click.Choice(("on", "off"))

Value = TypeVar("Value")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _once(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[str]:
    """A VM that is named twice is still one VM."""
    return list(dict.fromkeys(value))


def vm_arguments() -> Decorator:
    """VM…: one or many VMs by name or UUID; the function gets a list `vms`."""
    return click.argument("vms", nargs=-1, required=True, metavar="VM…", callback=_once, shell_complete=vm_names)


def force_option() -> Decorator:
    """--force of the verbs that stop a VM."""
    return click.option("--force", is_flag=True, help="Pull the plug of a VM that has not stopped in time.")


def force_device_option(bus: Literal["pci", "usb", "scsi", "any"] = "any") -> Decorator:
    """--force-host-device of all that gives devices of a bus, or of any, to VMs; the function gets PCI addresses in
    full, USB ports, SCSI addresses and paths of disks, `forced`.
    """

    def names(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
        return tuple(read("--force-host-device", parse, text) or "" for text in value)

    def parse(text: str) -> str:
        from kvmctl.spec.model.pci import in_full
        from kvmctl.spec.model.scsi import SCSI_ADDRESS, is_address
        from kvmctl.spec.model.usb import PORT, is_port

        if bus in ("scsi", "any") and text.startswith("/dev/"):
            return text
        if bus == "scsi" or (bus == "any" and is_address(text)):
            return str(SCSI_ADDRESS.parse(text))
        is_usb = is_port(text) if bus == "any" else bus == "usb"
        return str(PORT.parse(text)) if is_usb else in_full(text)

    disk = ", or disk by its path," if bus in ("scsi", "any") else ""
    return click.option(
        "--force-host-device",
        "forced",
        multiple=True,
        metavar={"pci": "ADDRESS", "usb": "PORT", "scsi": "ADDRESS|DISK", "any": "ADDRESS|PORT|DISK"}[bus],
        callback=names,
        help=f"Take this very device{disk} from the host, even if the host needs it.",
    )


def read(option: str, parse: Callable[[str], Value], text: str | None) -> Value | None:
    """What an option's text stands for; None where it was not given."""
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as problem:
        raise UsageError("usage", f"{option}: {problem}") from None


def sentence(done: str, already: str) -> Callable[[dict[str, Any]], str]:
    """What to say of a VM: that it was done, or was so already."""
    return lambda item: f"{item['name']}: {done if item['changed'] else already}"


def stopped_sentence(item: dict[str, Any]) -> str:
    """How a VM came to be stopped."""
    if not item["changed"]:
        return "already stopped"
    return f"{'plug pulled' if item['forced'] else 'stopped'} after {item['seconds']:.1f} s"
