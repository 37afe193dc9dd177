"""Which host a command talks to. Reads the configuration and the environment, and never calls libvirt.

The order: -H, KVMCTL_HOST, `default_host` of the configuration, LIBVIRT_DEFAULT_URI, qemu:///system where its
socket lets us in, qemu:///session (not for root) where its daemon is installed, else the embedded host.

On the way of every command, so nothing is imported here before it is needed: no pathlib, no yaml.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from kvmctl.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EMBEDDED = "embedded"
EMBEDDED_URI = "qemu:///embed"
SYSTEM = "qemu:///system"
SESSION = "qemu:///session"

SYSTEM_SOCKETS = tuple(
    f"{run}/libvirt/{name}" for run in ("/run", "/var/run") for name in ("libvirt-sock", "virtqemud-sock")
)
DAEMONS = ("libvirtd", "virtqemud")
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~")
"""What may stand in a URI's parameter as it is."""


class Target:
    """One host to talk to. `name` is what people call it and what the field `host` shows."""

    __slots__ = ("devices", "embedded", "migrate_uri", "name", "uri", "warnings")

    def __init__(self, name: str, uri: str, *, migrate_uri: str = "", devices: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.uri = uri
        self.migrate_uri = migrate_uri
        self.devices = dict(devices or {})
        """What its entry calls devices of the host, and which they are."""
        self.embedded = uri == EMBEDDED_URI or uri.startswith(EMBEDDED_URI + "?")
        self.warnings = _warnings(name, uri)

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.uri!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self) -> int:
        return hash((self.name, self.uri))


class Configuration:
    """What the configuration file says; empty where there is none."""

    __slots__ = ("default_host", "hosts")

    def __init__(self, hosts: Mapping[str, Target] | None = None, default_host: str = "") -> None:
        self.hosts = hosts or {}
        self.default_host = default_host


def select(names: tuple[str, ...], *, every: bool = False) -> list[Target]:
    """The hosts a command talks to: those named with -H, or all that are configured, or the default one."""
    if names:
        # The same host named twice is still one host.
        return list(dict.fromkeys(map(_named, names)))
    return (configured() if every else []) or [_default()]


def configured() -> list[Target]:
    """The hosts of the configuration file, in its order."""
    return list(_configuration().hosts.values())


def state_directory() -> Path:
    """Where kvmctl keeps what must outlive a command; it is not made here."""
    from pathlib import Path

    return Path(_state_directory())


def config_file() -> Path:
    """The configuration file, whether it is there or not."""
    from pathlib import Path

    return Path(_config_file())


def embedded_target() -> Target:
    """libvirt's QEMU driver inside our own process, in kvmctl's own directory."""
    root = os.path.join(_state_directory(), "embedded")
    return Target(EMBEDDED, f"{EMBEDDED_URI}?root={_quoted(root)}")


def _default() -> Target:
    """The host where nothing on the command line names one."""
    environment = os.environ
    if named := environment.get("KVMCTL_HOST") or _configuration().default_host:
        return _named(named)
    if uri := environment.get("LIBVIRT_DEFAULT_URI"):
        return _from_uri(uri)
    if any(map(_lets_us_in, SYSTEM_SOCKETS)):
        return Target(SYSTEM, SYSTEM)
    if os.geteuid() != 0 and _session_daemon_is_installed(environment):
        return Target(SESSION, SESSION)
    target = embedded_target()
    if any(map(os.path.exists, SYSTEM_SOCKETS)):
        target.warnings = (f"{SYSTEM} does not answer, or does not let us in: this is the embedded host",)
    return target


def _named(name: str) -> Target:
    """What -H was given: an alias of the configuration, a libvirt URI, or 'embedded'."""
    if name == EMBEDDED:
        return embedded_target()
    if ":" in name:  # which no alias has
        return _from_uri(name)
    hosts = _configuration().hosts
    if name in hosts:
        return hosts[name]
    from difflib import get_close_matches

    near = get_close_matches(name, [*hosts, EMBEDDED], 1)
    hint = f"did you mean '{near[0]}'?" if near else "give a libvirt URI, such as qemu+ssh://root@host2/system"
    raise NotFound("host-not-found", f"{_config_file()} has no host named '{name}'", hint=hint)


def _from_uri(uri: str) -> Target:
    if not uri.isprintable() or " " in uri:
        raise UsageError("usage", f"not a libvirt URI: {uri!r}", hint="an example: qemu+ssh://root@host2/system")
    return Target(uri, uri)


def _lets_us_in(path: str) -> bool:
    """True if somebody listens on the socket and we may speak to it."""
    if not os.access(path, os.R_OK | os.W_OK):
        return False
    # Looking is better than knocking: the daemon logs an error for each caller who leaves without a word.
    return _is_listened_to(path) or _answers(path)


def _is_listened_to(path: str) -> bool:
    names = tuple(f" {run}{path.removeprefix('/var').removeprefix('/run')}\n" for run in ("/run", "/var/run"))
    with suppress(OSError), open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
        return any(line.endswith(names) and " 00010000 " in line for line in sockets)
    return False


def _answers(path: str) -> bool:
    """For a container, where a socket may belong to another network namespace and is not in our list."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        # Not to wait: a daemon that hangs with a full queue is there, and told as hanging when it is spoken to.
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def _session_daemon_is_installed(environment: Mapping[str, str]) -> bool:
    """libvirt starts the user's own daemon by itself, where it finds one."""
    folders = [*environment.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"]
    return any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders if folder for name in DAEMONS)


def _warnings(name: str, uri: str) -> tuple[str, ...]:
    """What a person must know before speaking to this host."""
    scheme, _, rest = uri.partition("://")
    if not scheme.lower().endswith("+tcp"):
        return ()
    place = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    machine = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    if machine in ("", "localhost", "::1") or machine.startswith("127."):
        return ()
    return (f"{name}: plain TCP is not encrypted, and whoever reaches the port controls the host",)


def _configuration() -> Configuration:
    path = _config_file()
    if not os.path.exists(path):
        return Configuration()
    from kvmctl.host.config import read

    return read(path)


def _config_file() -> str:
    return os.environ.get("KVMCTL_CONFIG") or _home("XDG_CONFIG_HOME", ".config", "config.yaml")


def _state_directory() -> str:
    return os.path.abspath(os.environ.get("KVMCTL_STATE_DIR") or _home("XDG_STATE_HOME", ".local/state", ""))


def _home(variable: str, default: str, name: str) -> str:
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # the XDG specification: a relative path is to be ignored
        base = os.path.join(os.path.expanduser("~"), default)
    return os.path.join(base, "kvmctl", name).rstrip("/")


def _quoted(path: str) -> str:
    return "".join(c if c in PLAIN else "".join(f"%{byte:02X}" for byte in os.fsencode(c)) for c in path)
