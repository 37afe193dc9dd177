"""`kvmctl host …`: the group, and where its commands live."""

from kvmctl.lazy import LazyGroup

REGISTRY: dict[str, tuple[str, str]] = {
    "list": ("kvmctl.commands.host.list:list_", "List the configured hosts, and whether they answer."),
    "show": (
        "kvmctl.commands.host.show:show",
        "Show a host: versions, CPUs, memory, what guests can have, networks and pools.",
    ),
    "check": ("kvmctl.commands.host.check:check", "Find what is wrong with a host, and how to mend it."),
}

host = LazyGroup(
    name="host",
    help="Hosts: list, show, check.",
    registry=REGISTRY,
    sections={"Commands": ("list", "show", "check")},
    context_settings={"help_option_names": ["-h", "--help"]},
)
