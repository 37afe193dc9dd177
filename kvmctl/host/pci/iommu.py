"""What this machine has for giving devices to guests safely. Changes nothing.

Everything is read below `system`, which is / but for tests.
"""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

from kvmctl.host.machine import ROOT, iommu_groups, iommu_table, text_of
from kvmctl.plan.pci.facts import Iommu

VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "HygonGenuine": "amd"}


def iommu(system: Path = ROOT, *, own: bool = False) -> Iommu:
    """`own`: VMs are started with our own rights, not with those of the system's libvirt."""
    lines = (text_of(system / "proc/cpuinfo") or "").splitlines()
    vendor = next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")
    return Iommu(
        enabled=iommu_groups(system) > 0,
        interrupt_remapping=_remapping(system) if vendor in VENDORS else None,
        unsafe_interrupts=_is_set(system / "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"),
        no_iommu=_is_set(system / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"),
        vfio=_vfio(system),
        locked_memory=_locked() if own else None,
        privileged=os.geteuid() == 0 if own else None,
        firmware=iommu_table(system),
        kernel=text_of(system / "proc/cmdline") or "",
        processor=VENDORS.get(vendor, ""),
    )


def _remapping(system: Path) -> bool | None:
    """Interrupts that are remapped have it in the name of their controller."""
    said = text_of(system / "proc/interrupts")
    return None if said is None or "MSI" not in said else "IR-" in said


def _is_set(path: Path) -> bool:
    return text_of(path) in ("Y", "y", "1")


def _vfio(system: Path) -> bool:
    """Whether vfio-pci is loaded, built in, or there to be loaded."""
    if (system / "sys/bus/pci/drivers/vfio-pci").is_dir():
        return True
    modules = system / "lib/modules" / platform.release()
    return any("/vfio-pci.ko" in (text_of(modules / name) or "") for name in ("modules.dep", "modules.builtin"))


def _locked() -> int | None:
    """The limit that an ordinary user's libvirt cannot raise."""
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    return None if os.geteuid() == 0 or most == resource.RLIM_INFINITY else most
