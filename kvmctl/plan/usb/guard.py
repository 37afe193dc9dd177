"""What stands against giving USB devices to a VM, and whether any VM could have one. Pure.

Who needs and has a device is judged by what judges PCI devices, in `plan/pci/`; here is what only USB has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker, note
from kvmctl.plan.pci.guard import of_one, twice
from kvmctl.plan.pci.hindrances import Hindrance, used
from kvmctl.plan.pci.verdict import judged

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.verdict import Verdict
    from kvmctl.plan.usb.facts import Device, Inventory


def check(
    inventory: Inventory, ports: Sequence[str], *, uuid: str = "", forced: Collection[str] = ()
) -> tuple[Finding, ...]:
    """All findings about these devices for one VM, of which `uuid` is its own; `forced` it may take from the host."""
    found = list(twice(ports))
    for port in dict.fromkeys(ports):
        device = inventory.devices[port]
        found += of_one(inventory, port, _hindrances(inventory, device, uuid), uuid=uuid, forced=forced)
        found += _rights(device)
        if device.is_input:
            what = f"{port} is a keyboard, a mouse or the like: the host's console is without it while a VM has it"
            found.append(note("host-input", what, subject=port))
    return tuple(dict.fromkeys(found))


def verdict(inventory: Inventory, port: str) -> Verdict:
    """What `usb list` says of a device."""
    return judged(inventory, port, _hindrances(inventory, inventory.devices[port], ""), check(inventory, [port]))


def _hindrances(inventory: Inventory, device: Device, uuid: str) -> Iterator[Hindrance]:
    if device.is_hub:
        yield Hindrance(word="not-assignable", code="device-hub", reason="it is a hub")
    yield from used(inventory, device.port, uuid=uuid)


def _rights(device: Device) -> Iterator[Finding]:
    if device.usable is False:
        yield blocker(
            "not-privileged",
            f"this libvirt runs without root's rights, and has none to {device.port} "
            f"(/dev/bus/usb/{device.bus:03}/{device.number:03})",
            "use the system's libvirt: -H qemu:///system; or give yourself the right by a rule of udev",
            subject=device.port,
        )
