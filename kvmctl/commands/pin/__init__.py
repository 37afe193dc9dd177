"""`kvmctl pin …`: the group, and where its commands live."""

from kvmctl.lazy import LazyGroup

REGISTRY: dict[str, tuple[str, str]] = {
    "show": (
        "kvmctl.commands.pin.show:show",
        "Show where VMs run: vCPUs, QEMU's own threads, iothreads and memory, and what is wrong with it.",
    ),
    "auto": ("kvmctl.commands.pin.auto:auto", "Find the best place for VMs, and pin them there."),
    "set": ("kvmctl.commands.pin.set:set_", "Pin vCPUs, helper threads and memory; set scheduler, shares, quota."),
    "pool": ("kvmctl.commands.pin.pool:pool", "Keep VMs that float off the CPUs that exclusive VMs have."),
    "clear": ("kvmctl.commands.pin.clear:clear", "Take pins away, so that VMs float over the whole host."),
}

pin = LazyGroup(
    name="pin",
    help="Where VMs run: vCPUs, helper threads and memory on the host's CPUs and nodes.",
    registry=REGISTRY,
    sections={"Commands": ("show", "auto", "set", "clear", "pool")},
    context_settings={"help_option_names": ["-h", "--help"]},
)
