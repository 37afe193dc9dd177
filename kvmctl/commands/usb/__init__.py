"""`kvmctl usb …`: the group, and where its commands live."""

from kvmctl.lazy import LazyGroup

REGISTRY: dict[str, tuple[str, str]] = {
    "list": ("kvmctl.commands.usb.list:list_", "List a host's USB devices, who uses them, and whether a VM can."),
    "attach": ("kvmctl.commands.usb.attach:attach", "Give USB devices to a VM, also while it runs."),
    "detach": ("kvmctl.commands.usb.detach:detach", "Take USB devices away from a VM, also while it runs."),
}

usb = LazyGroup(
    name="usb",
    help="USB devices of a host, and VMs that have them.",
    registry=REGISTRY,
    sections={"Commands": ("list", "attach", "detach")},
    context_settings={"help_option_names": ["-h", "--help"]},
)
