"""`kvmctl pci mdev …`: the group, and where its commands live."""

from kvmctl.lazy import LazyGroup

REGISTRY: dict[str, tuple[str, str]] = {
    "list": ("kvmctl.commands.pci.mdev.list:list_", "List what devices can be cut into, and the parts there are."),
    "create": ("kvmctl.commands.pci.mdev.create:create", "Make a mediated device of a type."),
    "delete": ("kvmctl.commands.pci.mdev.delete:delete", "Remove mediated devices that no VM has."),
}

mdev = LazyGroup(
    name="mdev",
    help="Mediated devices (mdevs), such as vGPUs: parts of a device that VMs can have.",
    registry=REGISTRY,
    sections={"Commands": ("list", "create", "delete")},
    context_settings={"help_option_names": ["-h", "--help"]},
)
