"""Whether KVM can be used, from what is known of a host."""

from __future__ import annotations

import pytest

from kvmctl.plan.accelerator import kvm_usable

INTEL, AMD, NONE = frozenset({"vmx", "sse"}), frozenset({"svm", "sse"}), frozenset({"sse"})


@pytest.mark.parametrize(
    ("offered", "flags", "device", "arch", "usable", "why"),
    [
        (True, INTEL, True, "x86_64", True, "the CPU has vmx"),
        (True, AMD, None, "x86_64", True, "the CPU has svm"),
        (True, NONE, True, "x86_64", False, "neither vmx nor svm, although /dev/kvm is there"),
        (True, NONE, None, "i686", False, "the CPU has neither vmx nor svm"),
        (True, INTEL, False, "x86_64", False, "/dev/kvm"),
        (False, INTEL, True, "x86_64", False, "libvirt does not offer KVM"),
        (True, frozenset(), None, "x86_64", True, "libvirt offers KVM"),
        (True, frozenset({"fp"}), True, "aarch64", True, "/dev/kvm can be opened"),
        (True, frozenset({"fp"}), False, "aarch64", False, "/dev/kvm"),
        (True, frozenset({"sie"}), True, "s390x", True, "the CPU has sie"),
        (True, frozenset({"zarch"}), True, "s390x", False, "has no sie"),
    ],
)
def test_kvm_is_usable_when_everything_says_so(
    offered: bool, flags: frozenset[str], device: bool | None, arch: str, usable: bool, why: str
) -> None:
    found, reason = kvm_usable(in_capabilities=offered, cpu_flags=flags, device=device, arch=arch)
    assert found is usable
    assert why in reason
