"""Can guests run on KVM here? Decided from what libvirt, the CPU and /dev/kvm say; looks at nothing itself.

libvirt offering KVM is not enough: there are kernels with a /dev/kvm that opens and on which no guest boots.
So on x86 the CPU must have the instructions too, as virt-host-validate demands.
"""

from __future__ import annotations

X86 = frozenset({"x86_64", "i686", "i586", "i486", "i386"})
VIRTUALISATION_FLAGS = frozenset({"vmx", "svm"})


def kvm_usable(*, in_capabilities: bool, cpu_flags: frozenset[str], device: bool | None, arch: str) -> tuple[bool, str]:
    """Whether guests of the host's own architecture can use KVM, and why (not), as a part of a sentence.

    `in_capabilities`: libvirt offers domains of type kvm. `cpu_flags`: what the CPU can do; empty when it cannot be
    seen. `device`: /dev/kvm is there and may be opened by whoever runs the guests; None when it cannot be seen.
    """
    known = bool(cpu_flags) and (arch in X86 or arch == "s390x")
    wanted = VIRTUALISATION_FLAGS if arch in X86 else frozenset({"sie"})
    found = sorted(wanted & cpu_flags)
    if known and not found:
        lacks = "has neither vmx nor svm" if arch in X86 else "has no sie"
        though = ", although /dev/kvm is there" if device else ""
        return False, f"the CPU {lacks}{though}"
    if device is False:
        return False, "/dev/kvm is not there, or may not be opened"
    if not in_capabilities:
        return False, "libvirt does not offer KVM"
    said = [f"the CPU has {found[0]}"] if known else []
    said += ["/dev/kvm can be opened"] if device else []
    said += ["libvirt offers KVM"]
    return True, ", ".join(said)
