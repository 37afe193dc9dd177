"""`kvmctl host …`: the group, and where its commands live."""

from kvmctl.lazy import LazyGroup

REGISTRY: dict[str, tuple[str, str]] = {
    "list": ("kvmctl.commands.host.list:list_", "List the configured hosts, and whether they answer."),
    "show": (
        "kvmctl.commands.host.show:show",
        "Show a host: versions, CPUs, memory, what guests can have, networks and pools.",
    ),
    "topology": (
        "kvmctl.commands.host.topology:topology",
        "Draw a host: nodes, caches, cores, devices, and which VM is where.",
    ),
    "hugepages": (
        "kvmctl.commands.host.hugepages:hugepages",
        "Show the huge pages of a host, or change how many there are.",
    ),
    "check": ("kvmctl.commands.host.check:check", "Find what is wrong with a host, and how to mend it."),
}

host = LazyGroup(
    name="host",
    help="Hosts: list, show, topology, hugepages, check.",
    registry=REGISTRY,
    sections={"Commands": ("list", "show", "topology", "hugepages", "check")},
    context_settings={"help_option_names": ["-h", "--help"]},
)
