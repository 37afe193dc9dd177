"""The way from one host to the other, and what at the target is somebody else's already. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker, note, unless, warning

if TYPE_CHECKING:
    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.finding import Finding

EVERYWHERE = ("", "0.0.0.0", "::", "127.0.0.1", "::1", "localhost")
PRIVATE = tuple(
    map(
        ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
            *("fc00::/7", "fe80::/10", "::1/128"),
        ),
    )
)
"""RFC 1918 and RFC 4193, and what no router passes on."""
PORTS = "49152-49215"
"""Where QEMU listens for what arrives, if qemu.conf says nothing else."""


def way(ends: Ends) -> Iterator[Finding]:
    source, target = ends.source, ends.target
    if source.embedded or target.embedded:
        name = source.name if source.embedded else target.name
        hint = "use a libvirt daemon at both ends: -H qemu:///system"
        yield blocker("host-embedded", f"{name} is an embedded host, which has no daemon to migrate with", hint)
        return
    for end in (source, target):
        if end.hypervisor != "QEMU":
            what = f"{end.name} runs {end.hypervisor}, and kvmctl migrates VMs of QEMU"
            yield blocker("host-not-qemu", what, "name a host whose URI begins with qemu")
    if source.uuid and source.uuid == target.uuid:
        yield _same(ends)
        return
    if ends.guest.running:
        yield from _peer(ends)
        yield from _addresses(ends)
        yield from _plain(ends)
        if ends.way.closed:
            hint = f"open the ports {PORTS}/tcp of {target.name} for {source.name}: firewall-cmd --add-port={PORTS}/tcp"
            # Left to itself, the target's libvirt may name an address of which nothing is known here.
            yield unless(migrate_uri(ends) is None, "ports-closed", ends.way.closed, hint)
    else:
        yield from _peer(ends)


def _same(ends: Ends) -> Finding:
    source, target = ends.source, ends.target
    if source.hostname == target.hostname:
        return blocker("same-host", f"{source.name} and {target.name} are one and the same host", "name another host")
    what = f"{source.name} and {target.name} have the same host UUID, {source.uuid}, so libvirt takes them for one"
    hint = f"on {target.name}: set host_uuid in /etc/libvirt/libvirtd.conf to what uuidgen says, and restart libvirtd"
    return blocker("same-host", what, hint)


def _peer(ends: Ends) -> Iterator[Finding]:
    facts, source, target = ends.way, ends.source.name, ends.target.name
    if facts.peer_uri or not facts.asked or ends.wish.peer_to_peer is False:
        return
    what = f"the libvirt of {source} cannot reach that of {target}: {facts.peer_problem or 'no address is known'}"
    hint = f"on {source}, as root: virsh -c qemu+ssh://{ends.target.hostname or target}/system uri shows why"
    if facts.waits:
        hint = f"{source} gives up within two minutes; then let it reach {target}, or use --managed"
        yield blocker("peer-silent", what, hint)
    elif ends.wish.peer_to_peer:
        yield blocker("peer-unreachable", what, hint)
    else:
        yield note("peer-unreachable", f"{what}; the move is managed from here instead", hint)


def _addresses(ends: Ends) -> Iterator[Finding]:
    facts, target = ends.way, ends.target
    if not facts.loopback or facts.configured:
        return
    what = f"the name of {target.name}, '{target.hostname}', does not lead there from {ends.source.name}"
    hint = f"give {target.name} a name in DNS, or in config.yaml: migrate_uri: tcp://ADDRESS"
    if migrate_uri(ends):
        yield note("target-name", f"{what}, so memory goes to {migrate_uri(ends)}", hint)
    else:
        yield blocker("target-name", what, hint)


def migrate_uri(ends: Ends) -> str | None:
    """Where memory is sent; None leaves it to the target's libvirt, whose administrator may have said it."""
    if ends.way.configured:
        return ends.way.configured
    if ends.way.loopback and ends.way.address:
        address = ends.way.address
        return f"tcp://[{address}]" if ":" in address and not address.startswith("[") else f"tcp://{address}"
    return None


def _plain(ends: Ends) -> Iterator[Finding]:
    if ends.wish.tls or (all(map(is_private, ends.way.addresses)) and ends.way.addresses):
        return
    shown = ", ".join(sorted({one for one in ends.way.addresses if not is_private(one)})) or "an address not known here"
    yield unless(
        ends.wish.insecure,
        "plain-text",
        f"all memory of the guest would go to {ends.target.name} as plain text, over a network that is not private "
        f"({shown})",
        "--tls encrypts it; --insecure sends it nevertheless; migrate_uri: in config.yaml names a private address",
    )


def is_private(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed in network for network in PRIVATE)


def taken(ends: Ends) -> Iterator[Finding]:
    """Names and ports that others have at the target."""
    guest, target = ends.guest, ends.target
    if ends.source.uuid and ends.source.uuid == target.uuid:
        return
    for other in target.tenants:
        state = "runs" if other.running else "is defined"
        if other.uuid == guest.uuid and guest.job:
            continue  # it is arriving
        if other.uuid == guest.uuid:
            what = f"a VM with its UUID {state} on {target.name} already, as '{other.vm}'"
            hint = f"kvmctl show {other.vm} -H {target.name} says more; if it is a left-over, kvmctl delete removes it"
            yield blocker("uuid-taken", what, hint)
        elif other.vm == guest.name:
            what = f"another VM with its name {state} on {target.name} already"
            yield blocker("name-taken", what, f"kvmctl rename {other.vm} NAME -H {target.name}, or rename this one")
    if guest.running:
        yield from _listeners(ends)


def _listeners(ends: Ends) -> Iterator[Finding]:
    for number, what in fixed_ports(ends):
        owner = ends.target.ports.get(number)
        if owner:
            said = f"its {what} listens on port {number}, which the VM '{owner}' has on {ends.target.name}"
            hint = "let libvirt choose the port: remove it from the definition, and restart the VM"
            yield blocker("port-taken", said, hint, subject=what)
    for screen in ends.xml.iterfind("devices/graphics"):
        for listen in [screen, *screen.findall("listen")]:
            where = listen.get("address") if listen.tag == "listen" else screen.get("listen")
            if listen.get("type", "address") != "address" and listen.tag == "listen":
                continue
            if where and where not in EVERYWHERE:
                kind = screen.get("type", "graphics")
                what = f"its {kind} screen listens on {where}, an address that {ends.target.name} would have to have"
                yield warning("listen-address", what, "listen on 0.0.0.0 or 127.0.0.1", subject=kind)
                break


def fixed_ports(ends: Ends) -> Iterator[tuple[int, str]]:
    """TCP ports that the definition names itself, and what for."""
    for screen in ends.xml.iterfind("devices/graphics"):
        if screen.get("autoport") == "no":
            for name in ("port", "tlsPort"):
                if (screen.get(name) or "").isdecimal():
                    yield int(screen.get(name, "0")), f"{screen.get('type')} screen"
    for kind in ("serial", "console", "channel", "parallel"):
        for line in ends.xml.iterfind(f"devices/{kind}[@type='tcp']"):
            source = line.find("source[@mode='bind']")
            if source is not None and (source.get("service") or "").isdecimal():
                yield int(source.get("service", "0")), kind
