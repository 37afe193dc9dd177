"""`kvmctl pci …`: the group, and where its commands live."""

from kvmctl.lazy import LazyGroup

REGISTRY: dict[str, tuple[str, str]] = {
    "list": ("kvmctl.commands.pci.list:list_", "List a host's PCI devices, who uses them, and whether a VM can."),
    "show": ("kvmctl.commands.pci.show:show", "Explain PCI devices, each with its whole IOMMU group."),
    "attach": ("kvmctl.commands.pci.attach:attach", "Give devices to a VM, also while it runs."),
    "detach": ("kvmctl.commands.pci.detach:detach", "Take devices away from a VM, also while it runs."),
    "vfs": ("kvmctl.commands.pci.vfs:vfs", "Set how many virtual functions a card has, and what each is."),
    "reserve": ("kvmctl.commands.pci.reserve:reserve", "Keep devices for VMs from boot on."),
    "mdev": (
        "kvmctl.commands.pci.mdev:mdev",
        "Mediated devices (mdevs), such as vGPUs: parts of a device that VMs can have.",
    ),
    "release": ("kvmctl.commands.pci.release:release", "Give devices that a crash has left back to their drivers."),
}

pci = LazyGroup(
    name="pci",
    help="PCI devices of a host, and VMs that have them.",
    registry=REGISTRY,
    sections={"Commands": ("list", "show", "attach", "detach", "vfs", "mdev", "reserve", "release")},
    context_settings={"help_option_names": ["-h", "--help"]},
)
