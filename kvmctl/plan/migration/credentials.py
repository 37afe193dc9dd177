"""What a QEMU shows of itself over TLS, and whom it trusts: facts alone, filled by `host/migration/credentials.py`.

The source connects as a client, the target is the server, and each has for that a certificate, its key, and the
authority that it trusts. Moments are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One certificate, as it says of itself."""

    subject: str
    issuer: str
    begins: float
    ends: float
    common_name: str = ""
    names: tuple[str, ...] = ()
    """The host names and addresses that it is for, of its subjectAltName."""
    authority: bool = False
    """It may sign others."""
    usages: frozenset[str] = frozenset()
    """Of keyUsage, in openssl's words; none: for any use. Likewise `purposes`, of extendedKeyUsage."""
    purposes: frozenset[str] = frozenset()
    critical: frozenset[str] = frozenset()
    """Which of these two must be obeyed."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One of the files that QEMU reads. Of a key nothing is known but that it is there."""

    path: str
    missing: bool = False
    obstacle: str = ""
    """The file or directory that QEMU's user may not read or enter, on the way to it."""
    damaged: str = ""
    """Why there is no certificate to be had from it."""
    certificates: tuple[Certificate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What one end has in the directory that its qemu.conf names."""

    now: float
    """When it was looked at, by the clock of that end."""
    authority: File | None = None
    certificate: File | None = None
    key: File | None = None
    directory: str = ""
    user: str = ""
    """Whom QEMU runs as there."""
    verify: bool = True
    """Who connects must show a certificate."""
    host: str = ""
    """Where others are told to connect to, if qemu.conf says so."""
    untrusted: str = ""
    """Why its certificate is none of its own authority's."""
    unseen: str = ""
    """Why not all of this could be seen, and what would help."""
    remedy: str = ""

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(file for file in (self.authority, self.certificate, self.key) if file is not None)
