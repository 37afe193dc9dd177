"""What to do about the most frequent refusals of libvirt and QEMU, which seldom say what would mend it."""

from __future__ import annotations

FIRMWARE = "install the UEFI firmware on the host: ovmf on Debian, edk2-ovmf on Fedora and Arch"
REMEDIES = (
    ("tpm version", "install swtpm and swtpm-tools on the host"),
    ("unable to find any firmware", FIRMWARE),
    ("unable to find 'efi' firmware", FIRMWARE),
    (
        "failed to parse user",
        "QEMU's user is missing on the host: install libvirt-daemon-system",
    ),
    ('failed to get "write" lock', "another VM, or a program such as qemu-img, uses that disk"),
    ('failed to get shared "write" lock', "another VM, or a program such as qemu-img, uses that disk"),
    (
        "permission denied",
        "QEMU runs as a user of its own, libvirt-qemu or qemu, who must be able to read that path",
    ),
    ("unable to map backing store", "the host has not enough free huge pages: kvmctl host hugepages"),
    ("hugetlbfs", "kvmctl host hugepages says what to mount; memory: {source: memfd} needs none"),
    ("cannot allocate memory", "the host has not enough free memory: kvmctl host show"),
    ("is not active", "start the network: virsh net-start NAME, and virsh net-autostart NAME for the next boot"),
    ("cannot access storage file", "is the path right, on the host that runs the VM?"),
    ("could not open", "is the path right, on the host that runs the VM?"),
    ("cannot find suitable emulator", "install QEMU for that architecture: qemu-system-… on Debian"),
    ("does not support virt type 'kvm'", "the host has no usable KVM: kvmctl host check"),
    ("failed to initialize kvm", "the host has no usable KVM: kvmctl host check; accelerator: tcg runs without it"),
    ("failed to validate against schema", "libvirt does not know what raw_xml, or the value of a key, says there"),
    ("unable to create tap device", "this needs root on the host, or networks: [{user: true}]"),
)
"""Part of the message, in small letters -> the hint. The first that fits counts."""


def remedy(message: str) -> str:
    """The hint for a message, or nothing."""
    text = message.lower()
    return next((hint for part, hint in REMEDIES if part in text), "")
