"""What PCI a machine type has: express, with a port for each device, or conventional, with slots on one bus."""

from __future__ import annotations

from typing import Literal

Pci = Literal["express", "conventional"]
VIRT = ("aarch64", "armv7l", "riscv64", "riscv32", "loongarch64")
"""Whose machine type virt has PCI Express; there are others of that name."""


def pci_of(machine: str | None, arch: str | None) -> Pci | None:
    """The PCI of a machine type; None where there is none, or none that is known."""
    machine = machine or ""
    if "q35" in machine.split("-"):
        return "express"
    if machine == "virt" or machine.startswith("virt-"):
        return "express" if arch in VIRT else None
    return "conventional" if machine == "pc" or machine.startswith("pc-i440fx-") else None
