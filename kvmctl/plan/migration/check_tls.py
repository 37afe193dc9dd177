"""The certificates that both hosts would show each other: there, readable, in time, for this host and this use. Pure.

It goes by what QEMU and GnuTLS do: QEMU looks at its own files before it begins, and refuses what an extension marked
as critical does not allow; the source wants the very name or address that it connects to in the target's certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from kvmctl.plan.migration.check_hosts import migrate_uri
from kvmctl.plan.migration.verdicts import blocker, note, ok, warning

if TYPE_CHECKING:
    from kvmctl.plan.migration.credentials import Certificate, Credentials, File
    from kvmctl.plan.migration.ends import End, Ends
    from kvmctl.plan.migration.finding import Finding

Side = Literal["client", "server"]

DAY = 86400.0
SOON = 14 * DAY
"""How long before its end a certificate is worth a warning."""
PURPOSES = {"client": "TLS Web Client Authentication", "server": "TLS Web Server Authentication"}
ANY_PURPOSE = "Any Extended Key Usage"
SIGNATURE = "Digital Signature"


def certificates(ends: Ends) -> Iterator[Finding]:
    if not ends.wish.tls or not ends.guest.running or ends.source.embedded or ends.target.embedded:
        return
    found = [*_of(ends, ends.source, "client"), *_of(ends, ends.target, "server"), *_name(ends), *_strangers(ends)]
    seen = [end.name for end in (ends.source, ends.target) if end.credentials and not end.credentials.unseen]
    if seen and not any(finding.verdict in ("warning", "blocker") for finding in found):
        yield ok("certificates", f"the certificates of {' and '.join(seen)} are in order")
    yield from found


def _of(ends: Ends, end: End, side: Side) -> Iterator[Finding]:
    """What one end has for its side of the connection."""
    known = end.credentials
    if known is None:
        what = f"the certificates of {end.name} cannot be seen from here"
        yield note("certificates-unseen", what, f"the same check, made on {end.name}, looks at them")
        return
    if known.unseen:
        what = f"the certificates of {end.name} could not be looked at: {known.unseen}"
        yield note("certificates-unseen", what, known.remedy)
    yield from _missing(ends, end, known, side)
    for file in known.files:
        yield from _file(end, known, file)
    leaf = _leaf(known)
    if leaf is not None and known.certificate is not None:
        yield from _purpose(end, known.certificate, leaf, side)
    if known.authority is None:
        return
    if not all(each.authority for each in known.authority.certificates):
        what = f"{known.authority.path} of {end.name} holds a certificate that may not sign others"
        hint = "put the authority's certificate there, which has basicConstraints CA:TRUE, and no other"
        yield blocker("certificate-purpose", what, hint, subject=known.authority.path)
    elif known.untrusted:
        what = f"the {side} certificate of {end.name} is none of {known.authority.path}: {known.untrusted}"
        yield blocker("certificate-untrusted", what, "have the certificates of both hosts signed by one authority")


def _missing(ends: Ends, end: End, known: Credentials, side: Side) -> Iterator[Finding]:
    absent = [file for file in known.files if file.missing]
    # Hosts are mostly set up alike: where the target cannot be seen, the source's own setting is the best guess.
    verified = (ends.target.credentials or known).verify
    if side == "client" and not verified and absent == [known.certificate, known.key]:
        return  # who connects need not show one
    if absent:
        names = " and ".join(file.path.rpartition("/")[2] for file in absent)
        what = f"{end.name} has no {names} in {known.directory}, which its QEMU needs as the {side}"
        hint = f"put it there, readable for {known.user}; or set migrate_tls_x509_cert_dir in qemu.conf"
        yield blocker("certificate-missing", what, hint, subject=known.directory)


def _file(end: End, known: Credentials, file: File) -> Iterator[Finding]:
    if file.obstacle:
        what = f"the QEMU of {end.name}, which runs as {known.user}, cannot read {file.path}"
        if file.obstacle != file.path:
            what += f": it may not enter {file.obstacle}"
        hint = f"setfacl -m u:{known.user}:rX {file.obstacle} lets it"
        yield blocker("certificate-unreadable", what, hint, subject=file.path)
    if file.damaged:
        what = f"{file.path} of {end.name} is no certificate: {file.damaged}"
        yield blocker("certificate-damaged", what, "put the certificate there, as PEM", subject=file.path)
    for certificate in file.certificates:
        yield from _time(end, known, file, certificate)


def _time(end: End, known: Credentials, file: File, certificate: Certificate) -> Iterator[Finding]:
    """QEMU refuses to begin for any that is out of time, needed or not."""
    what = f"the certificate '{certificate.subject}' in {file.path} of {end.name}"
    renew = "renew it, or take it out of the file if another is in use" if len(file.certificates) > 1 else "renew it"
    if certificate.ends < known.now:
        yield blocker(
            "certificate-expired", f"{what} has expired on {_date(certificate.ends)}", renew, subject=file.path
        )
    elif certificate.begins > known.now:
        what = f"{what} is not valid before {_date(certificate.begins)}, and it is {_date(known.now)} there"
        yield blocker("certificate-not-yet-valid", what, "set the clocks of both hosts right", subject=file.path)
    elif certificate.ends < known.now + SOON:
        yield warning(
            "certificate-expires", f"{what} expires on {_date(certificate.ends)}", "renew it", subject=file.path
        )


def _date(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _leaf(known: Credentials | None) -> Certificate | None:
    """An end's own certificate: the first in its file, before those that link it to the authority."""
    found = known.certificate.certificates if known and known.certificate else ()
    return found[0] if found else None


def _purpose(end: End, file: File, leaf: Certificate, side: Side) -> Iterator[Finding]:
    what = f"{file.path} of {end.name} is not for a {side}"
    hint = f"sign one for {end.name} with keyUsage digitalSignature, extendedKeyUsage serverAuth and clientAuth"
    if leaf.authority:
        said = f"{what}: it is the certificate of an authority, which QEMU does not take"
        yield blocker("certificate-purpose", said, f"{hint}, and CA:FALSE", subject=file.path)
    elif leaf.usages and SIGNATURE not in leaf.usages:
        said = f"{what}: its key usage leaves out digital signatures"
        verdict = blocker if "usages" in leaf.critical else warning  # an RSA key has other ways, in old versions of TLS
        yield verdict("certificate-purpose", said, hint, subject=file.path)
    elif leaf.purposes and not leaf.purposes & {PURPOSES[side], ANY_PURPOSE}:
        said = f"{what}: its extended key usage is {', '.join(sorted(leaf.purposes))}"
        if "purposes" in leaf.critical:
            yield blocker("certificate-purpose", said, hint, subject=file.path)
        else:
            yield note("certificate-purpose", f"{said}; QEMU takes it nevertheless", hint, subject=file.path)


def _name(ends: Ends) -> Iterator[Finding]:
    """Where the target's own can be seen: whether it is for what the source connects to."""
    leaf, host = _leaf(ends.target.credentials), destination(ends)
    if leaf is None or not host or is_for(leaf, host):
        return
    names = ", ".join(leaf.names or (leaf.common_name,)) or "no host at all"
    what = f"the certificate of {ends.target.name} is for {names}, and {ends.source.name} connects to {host}"
    kind = "IP" if _address(host) else "DNS"
    hint = f"sign it with {kind}:{host} in subjectAltName; or migrate_uri in config.yaml names what it is for"
    yield blocker("certificate-name", what, hint, subject=host)


def destination(ends: Ends) -> str:
    """The name or address by which the source's QEMU knows the target."""
    uri, known = migrate_uri(ends), ends.target.credentials
    if uri is None:  # then the target's libvirt says where
        return ((known.host if known else "") or ends.target.hostname).strip("[]")
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""


def is_for(certificate: Certificate, host: str) -> bool:
    """By the rules of GnuTLS: an address must be there as one, and the common name counts where there is no other."""
    address = _address(host)
    if address:
        return any(_address(name) == address for name in certificate.names)
    return any(_fits(name.lower(), host.lower()) for name in certificate.names or (certificate.common_name,))


def _fits(name: str, host: str) -> bool:
    """A star stands for the first part of a name that has two more at least."""
    if name.startswith("*.") and name.count(".") > 1:
        return host.partition(".")[2] == name[2:]
    return name == host


def _address(text: str) -> object:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _strangers(ends: Ends) -> Iterator[Finding]:
    """Where both ends can be seen: whether each trusts the authority of the other's certificate."""
    for end, other in ((ends.source, ends.target), (ends.target, ends.source)):
        if end.credentials is None or other.credentials is None or end.credentials.certificate is None:
            continue
        chain = end.credentials.certificate.certificates
        trusted = other.credentials.authority.certificates if other.credentials.authority else ()
        if chain and trusted and not {each.issuer for each in chain} & {each.subject for each in trusted}:
            what = f"{other.name} does not trust '{chain[-1].issuer}', which has signed the certificate of {end.name}"
            hint = "have the certificates of both hosts signed by one authority"
            yield blocker("certificate-untrusted", what, hint, subject=chain[-1].issuer)
