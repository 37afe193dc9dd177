"""Which package brings what, on the distributions that kvmctl knows; the command that installs it. Asks nothing."""

from __future__ import annotations

COMMANDS = {"apt": "apt install", "dnf": "dnf install", "pacman": "pacman -S", "zypper": "zypper install"}
"""By the name of the package manager's program."""

NAMES = {
    "libvirt-python": ("python3-libvirt", "python3-libvirt", "libvirt-python", "python3-libvirt-python"),
    "daemon": ("libvirt-daemon-system", "libvirt-daemon-kvm", "libvirt", "libvirt-daemon-qemu"),
    "qemu": ("qemu-system-x86", "qemu-kvm", "qemu-base", "qemu-x86"),
    "qemu-img": ("qemu-utils", "qemu-img", "qemu-img", "qemu-img"),
    "dnsmasq": ("dnsmasq-base", "dnsmasq", "dnsmasq", "dnsmasq"),
    "swtpm": ("swtpm swtpm-tools", "swtpm swtpm-tools", "swtpm", "swtpm"),
    "uefi": ("ovmf", "edk2-ovmf", "edk2-ovmf", "qemu-ovmf-x86_64"),
}
OTHER_QEMU = {
    "aarch64": ("qemu-system-arm", "qemu-kvm", "qemu-system-aarch64", "qemu-arm"),
    "ppc64le": ("qemu-system-ppc", "qemu-kvm", "qemu-system-ppc", "qemu-ppc"),
    "s390x": ("qemu-system-s390x", "qemu-kvm", "qemu-system-s390x", "qemu-s390x"),
    "riscv64": ("qemu-system-misc", "qemu-system-riscv", "qemu-system-riscv", "qemu-extra"),
}


def install(what: str, *, manager: str, arch: str = "x86_64", sudo: bool = True) -> str:
    """The command that installs it; where the package manager is not known, the names of the packages."""
    names = OTHER_QEMU.get(arch, NAMES[what]) if what == "qemu" else NAMES[what]
    by_manager = dict(zip(COMMANDS, names))
    if manager not in by_manager:
        debian, fedora, arch_linux, _ = names
        return f"install there: {debian} (Debian), {fedora} (Fedora), {arch_linux} (Arch)"
    return f"{'sudo ' if sudo else ''}{COMMANDS[manager]} {by_manager[manager]}"
