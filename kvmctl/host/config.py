"""The configuration file: the hosts by name, and which of them is the default.

    default_host: host2
    hosts:
      host2: {uri: "qemu+ssh://root@host2/system", migrate_uri: "tcp://10.0.0.2"}
      host3: {uri: "qemu+ssh://root@host3/system", devices: {fast0: "serial:S4EVNX0M"}}

Every mistake is an error with its line. A URI is code (it can name a command to run): from a file only those with
harmless parts are taken, unless the host's own entry says `allow_unsafe_uri: true`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.errors import Refused, UsageError
from kvmctl.host.targets import EMBEDDED, Configuration, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1 << 20
"""A configuration of more than a mebibyte is a mistake."""

HARMLESS = frozenset(
    (
        *("auth", "debug", "keyfile", "known_hosts", "mode", "name", "no_tty", "pkipath", "proxy", "root"),
        *("socket", "sshauth"),
    )
)
"""URI parameters that neither run a command nor switch a check off. What is not known is not harmless."""


def read(path: str) -> Configuration:
    """The configuration in the file, or an error that says what is wrong and where."""
    return _Reader(path).configuration()


def unsafe_part(uri: str) -> str:
    """The part of the URI that runs a command or switches a check off; empty if there is none."""
    from urllib.parse import unquote

    scheme, _, rest = uri.partition("://")
    transport = scheme.lower().partition("+")[2]
    if transport == "ext":
        return "transport +ext"
    place, _, query = rest.partition("?")
    if place.rpartition("@")[2].startswith("-") or place.startswith("-"):
        return "a name that starts with '-'"
    for parameter in query.partition("#")[0].replace(";", "&").split("&"):
        key, _, value = map(unquote, parameter.partition("="))
        key = key.lower()
        if key == "known_hosts_verify" and value == "normal":
            continue
        if key and key not in HARMLESS:
            return f"{key}={value}"
    return ""


class _Reader:
    """Walks the YAML nodes, which know their lines."""

    def __init__(self, path: str) -> None:
        self.path = path

    def configuration(self) -> Configuration:
        root = self._document()
        values = dict(self._mapping(root, "the file", ("hosts", "default_host"))) if root else {}
        hosts, default = {}, ""
        if "hosts" in values:
            hosts = {name: self._host(name, entry) for name, entry in self._mapping(values["hosts"], "hosts")}
        if "default_host" in values:
            default = self._text(values["default_host"], "default_host")
            if default not in hosts and default != EMBEDDED and ":" not in default:
                raise self._wrong(values["default_host"], f"hosts has no '{default}', which default_host names")
        return Configuration(hosts, default)

    def _host(self, name: str, entry: Any) -> Target:
        if not name or name == EMBEDDED or ":" in name or not name.isprintable() or name.startswith("-"):
            raise self._wrong(entry, f"'{name}' cannot be the name of a host", "letters, digits, '.', '_' and '-' can")
        if entry.id == "scalar":
            uri, values = self._text(entry, f"hosts.{name}"), {}
        else:
            keys = ("uri", "migrate_uri", "allow_unsafe_uri", "devices")
            values = dict(self._mapping(entry, f"hosts.{name}", keys))
            if "uri" not in values:
                raise self._wrong(entry, f"hosts.{name} has no uri", f"write {name}: {{uri: 'qemu+ssh://…/system'}}")
            uri = self._text(values["uri"], f"hosts.{name}.uri")
        if ":" not in uri or not uri.isprintable():
            raise self._wrong(entry, f"hosts.{name}: '{uri}' is not a libvirt URI", "like qemu+ssh://host2/system")
        allow = values.get("allow_unsafe_uri")
        allowed = allow is not None and self._truth(allow, f"hosts.{name}.allow_unsafe_uri")
        if not allowed and (part := unsafe_part(uri)):
            raise Refused(
                "unsafe-uri",
                f"{self._place(entry)}: the URI of '{name}' has {part}, which can run commands or switch checks off",
                hint="write 'allow_unsafe_uri: true' in the entry of this host if you trust it",
            )
        migrate_uri = self._text(values["migrate_uri"], f"hosts.{name}.migrate_uri") if "migrate_uri" in values else ""
        devices = self._devices(values["devices"], f"hosts.{name}.devices") if "devices" in values else {}
        return Target(name, uri, migrate_uri=migrate_uri, devices=devices)

    def _devices(self, node: Any, what: str) -> dict[str, str]:
        """Names for devices of the host: which they are is looked at when one is asked for."""
        return {name: self._text(value, f"{what}.{name}") for name, value in self._mapping(node, what)}

    def _document(self) -> Any:
        import yaml

        try:
            with open(self.path, encoding="utf-8") as file:
                text = file.read(LARGEST + 1)
            if len(text) > LARGEST:
                raise UsageError("bad-config", f"{self.path}: larger than 1 MiB, so not a configuration file")
            return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError) as problem:
            mark = getattr(problem, "problem_mark", None)
            place = f"{self.path}:{mark.line + 1}" if mark else self.path
            said = getattr(problem, "problem", "") or problem
            raise UsageError("bad-config", f"{place}: not YAML: {said}") from problem
        except UnicodeDecodeError as problem:
            raise UsageError("bad-config", f"{self.path}: not a text file") from problem
        except OSError as problem:
            raise UsageError("bad-config", f"{self.path}: {problem.strerror}") from problem

    def _mapping(self, node: Any, what: str, known: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
        """Key and value of each entry. Keys given twice, and unknown ones where `known` is given, are errors."""
        if node.id == "scalar" and node.tag.endswith(":null"):
            return
        if node.id != "mapping":
            raise self._wrong(node, f"{what} must be a mapping of names to values")
        seen = set()
        for key, value in node.value:
            name = self._text(key, f"a key of {what}")
            if name in seen:
                raise self._wrong(key, f"{what}: '{name}' is given twice")
            if known and name not in known:
                raise self._wrong(key, f"{what}: unknown key '{name}'", f"known are: {', '.join(known)}")
            seen.add(name)
            yield name, value

    def _text(self, node: Any, what: str) -> str:
        if node.id != "scalar" or node.tag.endswith(":null"):
            raise self._wrong(node, f"{what} must be text")
        return str(node.value)

    def _truth(self, node: Any, what: str) -> bool:
        if node.id != "scalar" or not node.tag.endswith(":bool"):
            raise self._wrong(node, f"{what} must be true or false")
        return str(node.value).lower() in ("true", "yes", "on")

    def _place(self, node: Any) -> str:
        return f"{self.path}:{node.start_mark.line + 1}"

    def _wrong(self, node: Any, message: str, hint: str = "") -> UsageError:
        return UsageError("bad-config", f"{self._place(node)}: {message}", hint=hint)
