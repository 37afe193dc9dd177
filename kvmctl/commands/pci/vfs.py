"""`kvmctl pci vfs`: virtual functions of a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl.commands._complete import pci_devices
from kvmctl.commands._options import ON_OFF, read
from kvmctl.commands._vms import each
from kvmctl.errors import UsageError
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App


def _mac(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from kvmctl.spec.kinds import MAC

    return read("--mac", MAC.parse, value)


@command("vfs")
@click.argument("card", metavar="CARD", shell_complete=pci_devices)
@click.argument("number", type=click.IntRange(0, 65535), required=False, metavar="[N]")
@click.option("--boot/--no-boot", default=None, help="Have as many after each boot, or no longer.")
@click.option("--vf", "function", type=click.IntRange(0, 65535), metavar="I", help="Set one function, counted from 0.")
@click.option("--mac", metavar="MAC", callback=_mac, help="Its MAC address.")
@click.option("--vlan", type=click.IntRange(0, 4094), metavar="N", help="The VLAN it is in; 0: none.")
@click.option("--spoof-check", "spoofchk", type=ON_OFF, help="Whether packets from other addresses are dropped.")
@click.option("--trust", type=ON_OFF, help="Whether the guest may change its address, and hear everything.")
@click.pass_obj
def vfs(
    app: App, /, card: str, number: int | None, boot: bool | None, function: int | None, **settings: str | int | None
) -> None:
    """Set how many virtual functions a card has, and what each is.

    CARD is an address or a network interface. With N it has exactly so many functions afterwards; a change takes all of
    them away first, so it is refused while a VM has one, or the host uses one. The card is switched on, since functions
    do nothing without it. What fails leaves as many as there were.

    With --vf and further options one function is set. What functions are that VMs have as network cards is better said
    with the VM: networks: [{hostdev: vf_of:eth2, mac: …, vlan: …, trust: true}]. When kvmctl starts it, trust is off
    and the spoof check is on otherwise, whatever was set before.

    libvirt cannot do this, so it must be said on the host itself, by root.

    \b
    With -o json it prints one object with the fields
      name, address, interfaces, host
      virtual_functions       addresses
      most_virtual_functions
      boot                    whether they are made after each boot
      changed, before (how many there were)

    \b
    Examples:
      kvmctl pci vfs eth2 4 --boot
      kvmctl pci vfs eth2 --vf 3 --mac 52:54:00:12:34:56 --trust on

    \b
    Exit codes:
      0  done
      2  the options are wrong
      3  there is no such card
      5  functions are in use, there cannot be so many, or not from here
      8  they have not come in time, and are as before
    """
    wanted = {name: str(value) for name, value in settings.items() if value is not None}
    if (function is None) == (number is None):
        raise UsageError("usage", "say how many functions there are to be, or which one is to be set: --vf")
    if (function is None) == bool(wanted):
        raise UsageError("usage", "--vf goes with one of --mac, --vlan, --spoof-check, --trust, and these with --vf")

    from kvmctl.host.pci.functions import change, configure

    def deed(host: Any, word: str, work: Any) -> dict[str, Any]:
        if function is not None:
            return configure(host, word, function, wanted)
        return change(host, word, number or 0, work, boot=boot)

    each(app, [card], deed, sentence=_sentence)


def _sentence(item: dict[str, Any]) -> str:
    count = len(item["virtual_functions"])
    listed = f": {', '.join(item['virtual_functions'])}" if count else ""
    return f"{item['address']}: {count} virtual function{'s' * (count != 1)}{listed}"
