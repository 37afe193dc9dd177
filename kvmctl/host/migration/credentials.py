"""The files that the QEMUs of this machine use for TLS when VMs move, found as its libvirt finds them. Changes nothing.

libvirt shows no files, so of another host nothing is seen. Keys are never opened: they are there, and QEMU's user may
read them or not.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host.connection import translated
from kvmctl.host.machine import ROOT, is_here
from kvmctl.host.migration import x509
from kvmctl.plan.migration.credentials import Credentials, File

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.check_tls import Side

SETTING = re.compile(r"""^\s*(\w+)\s*=\s*(?:"([^"\0]*)"|'([^'\0]*)'|(\d+))""")
DEFAULT, FOR_MIGRATION = "etc/pki/qemu", "etc/pki/libvirt-migrate"
"""Where libvirt looks where nothing else is said: in the second if it is there."""
AS_ROOT = "as root, kvmctl sees them"


def credentials(host: Host, side: Side) -> Credentials | None:
    """What an end has for its side of the connection; None if it is another machine."""
    if host.embedded or not is_here(host.target):
        return None
    if host.target.uri.endswith("/session"):
        place = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "libvirt/qemu.conf"
        return looked_at(side, place, os.geteuid(), os.getegid())
    with translated(doing="ask the host what it offers", host=host.name):
        capabilities = ElementTree.fromstring(host.conn.getCapabilities())
    label = next((each.findtext("baselabel") or "" for each in capabilities.iterfind("host/secmodel[model='dac']")), "")
    found = re.fullmatch(r"\+(\d+):\+(\d+)", label.strip())
    user, group = (int(found[1]), int(found[2])) if found else (0, 0)
    return looked_at(side, ROOT / "etc/libvirt/qemu.conf", user, group)


def looked_at(side: Side, configuration: Path, user: int, group: int, system: Path = ROOT) -> Credentials:
    """The files in the directory that the configuration names, with the eyes of this user."""
    known = Credentials(now=time.time(), user=_name(user))
    try:
        said = settings(configuration)
        known = replace(
            known,
            directory=str(directory(said, system)),
            verify=said.get("migrate_tls_x509_verify", said.get("default_tls_x509_verify", "1")) != "0",
            host=said.get("migration_host", ""),
        )
        place, groups = Path(known.directory), _groups(user, group)
        authority, certificate, key = (
            _file(place / name, user, groups, system) for name in ("ca-cert.pem", f"{side}-cert.pem", f"{side}-key.pem")
        )
    except OSError as problem:
        remedy = AS_ROOT if isinstance(problem, PermissionError) else ""
        return replace(known, unseen=f"{problem.filename}: {problem.strerror}", remedy=remedy)
    known = replace(known, authority=authority, certificate=certificate, key=key)
    return _read(known, authority, certificate)


def _read(known: Credentials, authority: File, certificate: File) -> Credentials:
    """With what the certificates say, and whether the one is the other's."""
    try:
        authority, certificate = _with_content(authority), _with_content(certificate)
        known = replace(known, authority=authority, certificate=certificate)
        if authority.certificates and certificate.certificates:
            return replace(known, untrusted=x509.distrust(Path(authority.path), Path(certificate.path)))
    except OSError as problem:
        return replace(known, unseen=f"{problem.filename}: {problem.strerror}", remedy=AS_ROOT)
    except x509.NoMeansError as problem:
        return replace(known, unseen=str(problem), remedy="install openssl")
    return known


def _with_content(file: File) -> File:
    if file.missing:
        return file
    try:
        return replace(file, certificates=x509.read(Path(file.path)))
    except ValueError as problem:
        return replace(file, damaged=str(problem))


def settings(configuration: Path) -> dict[str, str]:
    """What qemu.conf says, of each key the first; nothing where there is no such file."""
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):
        for line in configuration.read_text(encoding="utf-8", errors="replace").splitlines():
            setting = SETTING.match(line)
            if setting:
                found.setdefault(setting[1], next(text for text in setting.groups()[1:] if text is not None))
    return found


def directory(said: dict[str, str], system: Path = ROOT) -> Path:
    """Where the certificates for migration are."""
    if said.get("migrate_tls_x509_cert_dir"):
        return Path(said["migrate_tls_x509_cert_dir"])
    if (system / FOR_MIGRATION).exists():
        return system / FOR_MIGRATION
    return Path(said.get("default_tls_x509_cert_dir") or system / DEFAULT)


def _file(path: Path, user: int, groups: frozenset[int], system: Path) -> File:
    try:
        path.stat()
        return File(path=str(path), obstacle=obstacle(path, user, groups, system))
    except (FileNotFoundError, NotADirectoryError):
        return File(path=str(path), missing=True)


def obstacle(path: Path, user: int, groups: frozenset[int], system: Path = ROOT) -> str:
    """The first directory on the way that a user may not enter, or the file that he may not read; or nothing."""
    if user == 0:
        return ""
    path = path.resolve()
    ways = [way for way in reversed(path.parents) if way.is_relative_to(system) and way != system]
    for place in (*ways, path):
        known = place.stat()
        shift = 6 if known.st_uid == user else 3 if known.st_gid in groups else 0
        wanted = os.R_OK if place == path else os.X_OK
        if not known.st_mode >> shift & wanted and not _has_more_rights(place):
            return str(place)
    return ""


def _has_more_rights(path: Path) -> bool:
    """Whether it has an ACL, which may allow what its mode does not."""
    with suppress(OSError):
        return "system.posix_acl_access" in os.listxattr(path)
    return False


def _name(user: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(user).pw_name
    return str(user)


def _groups(user: int, group: int) -> frozenset[int]:
    """All that libvirt gives QEMU: its own group, and those of its user."""
    with suppress(KeyError, OSError):
        return frozenset(os.getgrouplist(pwd.getpwuid(user).pw_name, group))
    return frozenset({group})
