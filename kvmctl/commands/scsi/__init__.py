"""`kvmctl scsi …`: the group, and where its commands live."""

from kvmctl.lazy import LazyGroup

REGISTRY: dict[str, tuple[str, str]] = {
    "list": ("kvmctl.commands.scsi.list:list_", "List a host's SCSI devices, who uses them, and whether a VM can."),
    "attach": ("kvmctl.commands.scsi.attach:attach", "Give SCSI devices to a VM, also while it runs."),
    "detach": ("kvmctl.commands.scsi.detach:detach", "Take SCSI devices away from a VM, also while it runs."),
}

scsi = LazyGroup(
    name="scsi",
    help="SCSI devices of a host, and VMs that have them.",
    registry=REGISTRY,
    sections={"Commands": ("list", "attach", "detach")},
    context_settings={"help_option_names": ["-h", "--help"]},
)
