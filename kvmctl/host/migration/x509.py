"""Reads and verifies certificates with openssl, which nearly every host has; Python's own library cannot.

Of a file only what stands between the marks of a certificate is read; keys are none of its business.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
import subprocess
from pathlib import Path

from kvmctl.plan.migration.credentials import Certificate

PATH = "/usr/local/bin:/usr/bin:/bin"
SECONDS = 5.0
MOST_BYTES, MOST = 1 << 20, 32
"""Of one file, and of certificates in it."""
BLOCK = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----[^-]*-----END (?:X509 )?CERTIFICATE-----")
READ = ("x509", "-noout", "-subject", "-issuer", "-dates", "-nameopt", "RFC2253,-esc_msb", "-ext")
EXTENSIONS = {
    "X509v3 Subject Alternative Name": "names",
    "X509v3 Basic Constraints": "constraints",
    "X509v3 Key Usage": "usages",
    "X509v3 Extended Key Usage": "purposes",
}
VERIFY = ("verify", "-no_check_time", "-partial_chain", "-no-CApath")
"""Whether it is in time is looked at elsewhere. Whatever is in the file is trusted, and nothing else."""
REASON = re.compile(r"^error \d+ at \d+ depth lookup:\s*(.+)$", re.M)


class NoMeansError(Exception):
    """Certificates cannot be read here; the message says why."""


def read(path: Path) -> tuple[Certificate, ...]:
    """The certificates in a file. ValueError says why there are none, OSError why it cannot be read."""
    blocks = BLOCK.findall(_bytes(path))
    if not blocks:
        raise ValueError("there is none in it")
    if len(blocks) > MOST:
        raise NoMeansError(f"{path} holds more than {MOST} certificates")
    return tuple(map(_parsed, blocks))


def _bytes(path: Path) -> bytes:
    # Without O_NONBLOCK, opening a pipe that nobody writes to would never return.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError("it is far too large")
    return found


def _parsed(block: bytes) -> Certificate:
    _check(block)
    code, told, said = _openssl(*READ, "subjectAltName,basicConstraints,keyUsage,extendedKeyUsage", given=block)
    plain = dict(line.partition("=")[::2] for line in told.splitlines() if re.match(r"(subject|issuer|not\w+)=", line))
    if code or len(plain) != 4:
        raise NoMeansError(f"this openssl does not tell of them: {said.strip().partition(chr(10))[0]}")
    found, critical = _extensions(told)
    names = found.get("names", ())
    common = re.findall(r"(?:^|[,+])CN=((?:\\.|[^,+\\])*)", plain["subject"])
    return Certificate(
        subject=plain["subject"],
        issuer=plain["issuer"],
        begins=ssl.cert_time_to_seconds(plain["notBefore"]),
        ends=ssl.cert_time_to_seconds(plain["notAfter"]),
        common_name=re.sub(r"\\(.)", r"\1", common[0]) if common else "",
        names=tuple(name.partition(":")[2] for name in names if name.startswith(("DNS:", "IP Address:"))),
        authority="CA:TRUE" in found.get("constraints", ()),
        usages=frozenset(found.get("usages", ())),
        purposes=frozenset(found.get("purposes", ())),
        critical=critical,
    )


def _check(block: bytes) -> None:
    """Python's own library cannot tell what a certificate says, but whether it is one."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block.decode("ascii"))
    except (ssl.SSLError, ValueError) as problem:
        raise ValueError("what is in it cannot be read") from problem


def _extensions(told: str) -> tuple[dict[str, list[str]], frozenset[str]]:
    """What each says, and which are critical. A title stands at the start of a line, what it says is indented."""
    found: dict[str, list[str]] = {}
    critical, name = set(), ""
    for line in told.splitlines():
        title, _, mark = line.partition(":")
        if not line.startswith(" "):
            name = EXTENSIONS.get(title, "")
            if name and mark.strip() == "critical":
                critical.add(name)
        elif name:
            found.setdefault(name, []).extend(line.strip().split(", "))
    return found, frozenset(critical)


def distrust(authority: Path, certificate: Path) -> str:
    """Why a certificate is none of these authorities', or nothing. What links them may stand in its own file."""
    code, _, said = _openssl(*VERIFY, "-CAfile", str(authority), "-untrusted", str(certificate), str(certificate))
    reason = REASON.search(said)
    return reason[1].strip() if code and reason else ""


def _openssl(*words: str, given: bytes = b"") -> tuple[int, str, str]:
    """Its exit code and what it says. It knows no authorities of its own, and no settings."""
    nowhere = dict.fromkeys(("SSL_CERT_DIR", "SSL_CERT_FILE", "OPENSSL_CONF"), os.devnull)
    try:
        done = subprocess.run(
            ["openssl", *words],
            env={"PATH": PATH, "LC_ALL": "C", **nowhere},
            input=given,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError as problem:
        raise NoMeansError("there is no openssl, which reads them") from problem
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise NoMeansError(f"openssl does not work: {problem}") from problem
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
