"""How the source's libvirt reaches the target's, asked of the source itself; and where memory would go.

libvirt is told to migrate with a definition for the target that it cannot read: it connects to the target first, and
then refuses what it reads, before anything begins. So is learned, too, whether it would refuse this VM for a reason of
its own. It holds the VM's job for as long as it takes to connect, and changes nothing.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kvmctl.host import bounded
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.machine import is_local
from kvmctl.host.messages import plain
from kvmctl.plan.migration.ends import Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.ends import Guest
    from kvmctl.plan.migration.wish import Wish

UNREADABLE = "<unreadable/>"
READ = (libvirt.VIR_ERR_XML_ERROR, libvirt.VIR_ERR_XML_DETAIL)
"""How libvirt complains of it: all before that went well."""
FAR = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
"""Who complains where there is no connection."""
UNCONNECTED = (
    libvirt.VIR_ERR_AUTH_FAILED,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_SYSTEM_ERROR,
)
"""What goes wrong where there is none, whoever complains."""
FAREWELL = "End of file while reading data: : Input/output error"
"""libvirt's own end of a connection over ssh, told now and then in place of what was wrong. Where it was ssh that ended
it, the reason stands between the colons."""
PEER_SECONDS = 5.0
PORT_SECONDS = NAME_SECONDS = 1.0
FIRST_PORT = 49152
KEPT = ("socket", "mode", "proxy")
"""URI parameters that mean the same to the source. Keys and known hosts are files of whoever runs kvmctl."""


def refusal(target: Host, domain: libvirt.virDomain, guest: Guest) -> str:
    """Why libvirt would refuse to begin, in its own words, or nothing. Unsafe disks are not its matter."""
    flags = _flags(guest) | libvirt.VIR_MIGRATE_UNSAFE
    try:
        domain.migrate3(target.conn, {libvirt.VIR_MIGRATE_PARAM_DEST_XML: UNREADABLE}, flags)
    except libvirt.libvirtError as problem:
        domain_of = problem.get_error_domain()
        return "" if problem.get_error_code() in READ or domain_of in FAR else plain(problem)
    return ""


def way(source: Host, target: Host, domain: libvirt.virDomain, guest: Guest, wish: Wish, work: Work) -> Way:
    """The way, tried as far as that costs nothing."""
    asked = wish.peer_to_peer is not False and not guest.job
    with translated(doing="ask the host its name", host=target.name):
        hostname = target.conn.getHostname()
    uri, problem, waits = None, "", False
    for candidate in candidates(source.target.uri, target.target.uri, hostname) if asked else ():
        problem, waits = _try(domain, guest, candidate, work)
        if not problem:
            uri = candidate
        if not problem or waits:
            break
    local = is_local(source.target)
    address = _host(uri or target.target.uri)
    configured = target.target.migrate_uri
    found = resolved(_host(configured) or hostname) or resolved(address)
    return Way(
        asked=asked,
        peer_uri=uri,
        peer_problem=problem,
        waits=waits,
        loopback=leads_nowhere(hostname, local=local),
        address="" if _is_here(address) else address,
        configured=configured,
        addresses=found,
        closed=_closed(configured, hostname, found) if local and guest.running else "",
    )


def candidates(source: str, target: str, hostname: str) -> Iterator[str]:
    """The target's libvirt as the source might reach it: as we do; or, where it is this machine, as we reach others."""
    parts = urlsplit(target)
    if parts.hostname and not _is_here(parts.hostname):
        kept = (part for part in parts.query.split("&") if part.partition("=")[0] in KEPT)
        yield parts._replace(query="&".join(kept)).geturl()
    elif hostname and not _is_here(hostname):
        way = urlsplit(source)
        user = f"{way.username}@" if way.username else ""
        yield (
            f"{way.scheme}://{user}{hostname}{parts.path}"
            if way.hostname
            else f"qemu+ssh://root@{hostname}{parts.path}"
        )


def _try(domain: libvirt.virDomain, guest: Guest, uri: str, work: Work) -> tuple[str, bool]:
    """Why the source does not reach the target, and whether it is still trying."""
    flags = _flags(guest) | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_UNSAFE

    def ask() -> str:
        try:
            domain.migrateToURI3(uri, {libvirt.VIR_MIGRATE_PARAM_DEST_XML: UNREADABLE}, flags)
        except libvirt.libvirtError as problem:
            said = problem.get_error_message() or "no connection"
            far = problem.get_error_domain() in FAR or problem.get_error_code() in UNCONNECTED
            return said if far and said != FAREWELL else ""
        return ""

    try:
        return bounded.call(ask, PEER_SECONDS, work=work), False
    except TimeoutError:
        return f"nothing answers within {PEER_SECONDS:g} s", True


def _flags(guest: Guest) -> int:
    if guest.running:
        return int(libvirt.VIR_MIGRATE_LIVE)
    return int(libvirt.VIR_MIGRATE_OFFLINE | libvirt.VIR_MIGRATE_PERSIST_DEST)


def _host(uri: str) -> str:
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""


def _is_here(name: str) -> bool:
    """A name that means the machine that asks, whichever that is."""
    return not name or name.startswith(("localhost", "127.")) or name == "::1"


def resolved(name: str) -> tuple[str, ...]:
    """The addresses of a name as this machine knows them."""
    if not name:
        return ()
    try:
        found = bounded.call(lambda: socket.getaddrinfo(name, None, type=socket.SOCK_STREAM), NAME_SECONDS)
    except (OSError, UnicodeError):  # a time-out among them
        return ()
    return tuple(sorted({str(each[4][0]) for each in found}))


def leads_nowhere(hostname: str, *, local: bool) -> bool:
    """Whether the source could not find the target by its name. Only this machine knows what names mean to itself."""
    if _is_here(hostname):
        return True
    found = resolved(hostname) if local else ("unknown",)
    return not found or all(map(_is_here, found))


def _closed(configured: str, hostname: str, addresses: tuple[str, ...]) -> str:
    """Why QEMU's port would not be reached, as tried from here. "Refused" is well: nothing listens there yet."""
    try:
        port = urlsplit(configured).port or FIRST_PORT
    except ValueError:
        port = FIRST_PORT
    if not addresses or any(map(_is_here, addresses)):
        return ""
    name = _host(configured) or hostname
    try:
        with socket.create_connection((addresses[0], port), timeout=PORT_SECONDS):
            return ""
    except ConnectionRefusedError:
        return ""
    except TimeoutError:
        return f"port {port} of {name} ({addresses[0]}) does not answer: a firewall is between"
    except OSError as problem:
        return f"port {port} of {name} ({addresses[0]}) cannot be reached: {problem.strerror}"
