"""What a host must have before any device can be given to a VM: an IOMMU in use, vfio, the right to bind. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvmctl.plan.check_facts import size
from kvmctl.plan.migration.verdicts import blocker, warning

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.facts import Inventory, Iommu

NAMES = {"intel": "VT-d", "amd": "AMD-Vi, or IOMMU"}
"""What the firmware's setup calls an IOMMU, by the maker of the processor."""
ARGUMENTS = {"intel": "intel_iommu=on iommu=pt", "amd": "iommu=pt"}
"""What the kernel is to be told; AMD's is used without being told to."""
SWITCHED_OFF = ("intel_iommu=off", "amd_iommu=off", "iommu=off", "noiommu")
REMAPPING = (
    "switch interrupt remapping on in the firmware's setup, and take intremap=off away from the kernel's options"
)
UNSAFE = "echo 'options vfio_iommu_type1 allow_unsafe_interrupts=1' > /etc/modprobe.d/vfio.conf"


def host(inventory: Inventory, addresses: Sequence[str], memory: int) -> Iterator[Finding]:
    """Everything about the host as a whole that concerns these devices, for a VM with so many bytes."""
    iommu = inventory.iommu
    yield from _iommu(iommu)
    yield from _interrupts(iommu)
    if iommu.vfio is False:
        yield blocker(
            "vfio-missing",
            "this kernel has no vfio-pci, by which devices are given to VMs",
            "modprobe vfio-pci says what is wrong; some distributions have it in a package of further kernel modules",
        )
    there = [inventory.devices[address] for address in addresses if address in inventory.devices]
    if iommu.privileged is False and any("vfio" not in device.driver for device in there):
        yield blocker(
            "not-privileged",
            "this libvirt runs without root's rights, so it cannot take a device from its driver",
            "use the system's libvirt: -H qemu:///system",
        )
    if iommu.locked_memory is not None and iommu.locked_memory < memory:
        yield blocker(
            "locked-memory",
            f"a VM with a device has all its memory locked, {size(memory)}, and the limit here is "
            f"{size(iommu.locked_memory)}",
            "raise the limit: 'memlock' in /etc/security/limits.conf, or LimitMEMLOCK=infinity in the service's unit",
        )


def _iommu(iommu: Iommu) -> Iterator[Finding]:
    if iommu.enabled is False and not iommu.no_iommu:
        yield blocker("iommu-off", "the host has no IOMMU in use, so no device can be given away safely", mend(iommu))
    elif iommu.no_iommu:
        first = f"{mend(iommu)}; and " if iommu.enabled is False else ""
        yield blocker(
            "iommu-bypassed",
            "vfio is in its mode without an IOMMU, in which a guest can write to all memory of the host",
            f"{first}take enable_unsafe_noiommu_mode away from the options of the module vfio",
        )


def _interrupts(iommu: Iommu) -> Iterator[Finding]:
    if iommu.interrupt_remapping is not False or iommu.enabled is False:
        return
    if iommu.unsafe_interrupts:
        yield warning(
            "unsafe-interrupts",
            "interrupts are not remapped, and vfio was told not to mind: a guest can send the host any interrupt",
            REMAPPING,
        )
    elif iommu.unsafe_interrupts is False:
        yield blocker(
            "interrupt-remapping",
            "the host does not remap interrupts, so vfio refuses to give devices away",
            f"{REMAPPING}; only if you trust the guest: {UNSAFE}",
        )


def mend(iommu: Iommu) -> str:
    """How an IOMMU comes into use: the kernel's command line, the firmware's switch, or both."""
    name = NAMES.get(iommu.processor, "VT-d (Intel) or AMD-Vi (AMD)")
    words = iommu.kernel.split()
    off = [word for word in SWITCHED_OFF if word in words]
    if off:
        return f"take {' '.join(off)} away from the kernel's command line, and boot again"
    wanted = ARGUMENTS.get(iommu.processor, f"{ARGUMENTS['intel']} (with an Intel processor)")
    told = all(word in words for word in wanted.split())
    switch = f"switch on {name} in the firmware's setup"
    if iommu.firmware:
        return f"boot with {wanted} on the kernel's command line" if not told else switch
    return switch if told else f"{switch}, and boot with {wanted} on the kernel's command line"
