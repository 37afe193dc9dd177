"""The doctor's checks of the machine: KVM, IOMMU, memory, disk space. Pure."""

from __future__ import annotations

from shlex import quote

from kvmctl.plan.accelerator import VIRTUALISATION_FLAGS, X86, kvm_usable
from kvmctl.plan.check_facts import (
    GIB,
    MIB,
    NOTE,
    OK,
    UNSEEN,
    WARNING,
    HostCheckFacts,
    Result,
    install_for,
    size,
    sudo,
    unknown,
)

LITTLE_MEMORY = 512 * MIB
LITTLE_SPACE = 5 * GIB


def kvm(facts: HostCheckFacts) -> Result:
    if facts.kvm_offered is None and not facts.cpu_flags:
        return unknown()
    usable, reason = usable_kvm(facts)
    if usable:
        return OK, reason, ""
    slow = "; guests run emulated (accelerator: tcg), and slowly"
    return WARNING, reason + slow, _mend_kvm(facts)


def usable_kvm(facts: HostCheckFacts) -> tuple[bool, str]:
    # The system's daemon opens /dev/kvm for us; otherwise it must let us in.
    device = facts.kvm_device
    if device and facts.kind != "system":
        device = facts.kvm_access
    return kvm_usable(
        in_capabilities=facts.kvm_offered is not False, cpu_flags=facts.cpu_flags, device=device, arch=facts.arch
    )


def _mend_kvm(facts: HostCheckFacts) -> str:
    found = sorted(VIRTUALISATION_FLAGS & facts.cpu_flags)
    if facts.arch in X86 and facts.cpu_flags and not found:
        if facts.virtual:
            return (
                "this machine is a VM: its host must allow nested virtualisation and give it the CPU host-passthrough"
            )
        return "switch on VT-x (Intel) or SVM (AMD) in the firmware setup"
    if facts.kvm_device is False:
        module = {"vmx": "kvm_intel", "svm": "kvm_amd"}.get(found[0] if found else "", "kvm")
        return f"{sudo(facts)}modprobe {module}"
    if facts.kvm_access is False and facts.kind != "system":
        return f"sudo usermod -aG kvm {facts.user or '$USER'}, then log in again"
    return install_for(facts, "qemu")


def nested(facts: HostCheckFacts) -> Result:
    if facts.nested is None and not facts.local:
        return NOTE, UNSEEN, ""
    if facts.nested:
        return OK, "guests can run VMs of their own", ""
    if not usable_kvm(facts)[0]:
        return NOTE, "without KVM here guests have none either", ""
    if facts.nested is None:
        return NOTE, "the kernel does not tell", ""
    module = "kvm_intel" if "vmx" in facts.cpu_flags else "kvm_amd"
    fix = f"echo 'options {module} nested=1' | {sudo(facts)}tee /etc/modprobe.d/kvm-nested.conf, then reboot"
    return NOTE, "guests cannot run VMs of their own", fix


def iommu(facts: HostCheckFacts) -> Result:
    if facts.iommu_groups:
        return OK, f"on, {facts.iommu_groups} groups; PCI devices can be given to guests", ""
    if facts.iommu_groups is None:
        if facts.iommu_offered is None:
            return unknown() if not facts.connected else (NOTE, UNSEEN, "")
        if facts.iommu_offered:
            return OK, "on; PCI devices can be given to guests", ""
    missing = "off; PCI devices cannot be given to guests"
    if facts.iommu_table:
        arguments = "intel_iommu=on iommu=pt" if "vmx" in facts.cpu_flags else "iommu=pt"
        return NOTE, missing, _boot_with(facts, arguments)
    if facts.virtual:
        return NOTE, missing, "this machine is a VM: give it an IOMMU on its host"
    return NOTE, missing, "switch on VT-d (Intel) or AMD-Vi in the firmware setup"


def devices(facts: HostCheckFacts) -> Result:
    if facts.left_devices is None:
        return unknown() if not facts.connected else (NOTE, UNSEEN, "")
    if not facts.left_devices:
        return OK, "none is left behind by a VM", ""
    said = ", ".join(facts.left_devices)
    fix = f"{sudo(facts)}kvmctl pci release {' '.join(facts.left_devices)}"
    return WARNING, f"{said} left with vfio-pci, and no VM has {'it' if len(facts.left_devices) == 1 else 'them'}", fix


def hugepages(facts: HostCheckFacts) -> Result:
    if facts.pages is None:
        return unknown() if not facts.connected else (NOTE, UNSEEN, "")
    reserved = [pages for pages in facts.pages if pages.total]
    if not reserved:
        fix = f"echo 'vm.nr_hugepages = 1024' | {sudo(facts)}tee /etc/sysctl.d/60-hugepages.conf, then reboot"
        return NOTE, "none are reserved; only specs that ask for 'hugepages' need them", fix
    said = ", ".join(
        f"{pages.total} of {size(pages.size)}" + ("" if pages.free is None else f" ({pages.free} free)")
        for pages in reserved
    )
    if facts.pages_mounted is False:
        fix = f"{sudo(facts)}mount -t hugetlbfs hugetlbfs /dev/hugepages"
        return WARNING, f"{said}, and no file system of them is mounted, so guests cannot use them", fix
    return OK, said, ""


def numa(facts: HostCheckFacts) -> Result:
    if not facts.nodes:
        return unknown() if not facts.connected else (NOTE, UNSEEN, "")
    if len(facts.nodes) == 1:
        return OK, "one node; nothing to place", ""
    said = "; ".join(f"node {node.number}: {size(node.memory)}, CPUs {node.cpus or 'none'}" for node in facts.nodes)
    empty = [str(node.number) for node in facts.nodes if not node.memory]
    if empty:
        fix = "put memory modules into the slots of every CPU socket"
        return WARNING, f"{said}; node {', '.join(empty)} has no memory of its own", fix
    return OK, said, ""


def memory(facts: HostCheckFacts) -> Result:
    if facts.memory_total is None or facts.memory_free is None:
        return unknown()
    said = f"{size(facts.memory_free)} of {size(facts.memory_total)} free"
    if facts.memory_free < LITTLE_MEMORY:
        return WARNING, f"{said}: too little for most guests", "kvmctl list --running: stop what is not needed"
    return OK, said, ""


def disk_space(facts: HostCheckFacts) -> Result:
    if facts.space_free is None or facts.space_total is None:
        return unknown() if not facts.connected else (NOTE, UNSEEN, "")
    place = facts.images or "the pool 'default'"
    said = f"{size(facts.space_free)} of {size(facts.space_total)} free in {place}"
    if facts.space_free < LITTLE_SPACE:
        return WARNING, f"{said}: new disks soon fill it", f"df -h {quote(facts.images)}" if facts.images else "df -h"
    return OK, said, ""


def _boot_with(facts: HostCheckFacts, arguments: str) -> str:
    """The command that gives the kernel these arguments at the next boot."""
    if facts.manager == "dnf":
        return f"{sudo(facts)}grubby --update-kernel=ALL --args='{arguments}', then reboot"
    grub = "update-grub" if facts.manager == "apt" else "grub-mkconfig -o /boot/grub/grub.cfg"
    return f"add {arguments} to GRUB_CMDLINE_LINUX in /etc/default/grub, then {sudo(facts)}{grub}, then reboot"
