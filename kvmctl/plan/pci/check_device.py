"""What is to be said of a device besides who has it: of its functions, and of what works only at first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker, warning
from kvmctl.plan.pci.hindrances import is_board

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.facts import Device, Inventory

GRAPHICS = 0x03
UNWILLING = ("amdgpu", "radeon", "nvidia", "i915", "xe")
"""Drivers that are known to hang, or to take the kernel with them, when a device is taken from them at work."""


def functions(inventory: Inventory, device: Device, wanted: Sequence[str]) -> Iterator[Finding]:
    """What cards and their virtual functions are to each other."""
    address = device.address
    if device.group is None and inventory.iommu.enabled and not is_board(device):
        hint = "put the card into another slot, or look for the IOMMU in the firmware's setup"
        yield blocker("no-group", f"{address} is not behind the IOMMU", hint, subject=address)
    physical = inventory.devices.get(device.physical_function)
    if physical is not None and physical.link_up is False:
        name = next(iter(physical.interfaces), physical.address)
        what = f"{address} is a function of {name}, which is down: a guest sees no link"
        yield warning("pf-down", what, f"ip link set {name} up", subject=address)
    both = [function for function in device.virtual_functions if function in wanted]
    if both:
        what = f"{both[0]} is a function of {address}, and goes away when that is given to a VM"
        yield blocker("pf-and-vf", what, "take the card as a whole, or functions of it", subject=address)
    elif device.virtual_functions:
        what = f"the {len(device.virtual_functions)} virtual functions of {address} go away with it"
        yield warning("vfs-lost", what, f"kvmctl pci vfs {address} 0 takes them away first", subject=address)


def traps(inventory: Inventory, device: Device, roms: Collection[str]) -> Iterator[Finding]:
    """What works, and then does not."""
    address = device.address
    if device.resets == ():
        others = inventory.buses[device.bus] - 1 if device.parent else 0
        shared = f", but only with the {others} other{'s' * (others > 1)} on its bus" if others else ""
        yield warning(
            "no-reset",
            f"{address} cannot be reset alone{shared}: what one guest leaves in it, the next one finds",
            f"{'give all of them together; ' * (others > 0)}power the host off between guests that do not trust each "
            "other",
            subject=address,
        )
    if device.boot_vga and device.rom is not False and address not in roms:
        what = f"the firmware has used the option ROM of {address}, and guests may find it changed: a dark screen"
        yield warning("option-rom", what, "give it its ROM as a file: rom: /path", subject=address)
    if device.base_class == GRAPHICS and device.driver in UNWILLING:
        what = f"the driver {device.driver} may hang when {address} is taken from it at work"
        hint = f"keep it for VMs from boot on: kvmctl pci reserve {address}"
        yield warning("unwilling-driver", what, hint, subject=address)
