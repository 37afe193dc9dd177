"""What QEMU says of certificates, in words that help. Asks nobody anything."""

from __future__ import annotations

from kvmctl.errors import KvmctlError, Refused

FILES = "ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem"
PLACE = "/etc/pki/qemu, or where migrate_tls_x509_cert_dir of its qemu.conf says"
MEANINGS = (
    ("unable to access credentials", "a host has no certificates for migration", f"put {FILES} into {PLACE}"),
    ("known issuer", "the hosts do not trust each other's certificates", "have both signed by the same authority"),
    ("does not match the hostname", "the target's certificate is for another name", "sign it for that name or address"),
    ("expired", "a certificate has expired", "renew it"),
    ("not yet activated", "a certificate is not valid yet", "look at the clocks of both hosts"),
    ("tls channel", "the hosts do not trust each other's certificates", "look into the log of the VM on the target"),
    ("certificate", "a certificate cannot be used", f"look at the files in {PLACE}"),
    ("tls", "the hosts cannot speak TLS to each other", f"look at the files in {PLACE}"),
)
"""What is said, what it means, and what to do; the first that fits."""


def explained(problem: KvmctlError) -> KvmctlError:
    """The error for a move that failed for its certificates; any other as it is."""
    said = problem.message.lower()
    for words, meaning, hint in MEANINGS:
        if words in said:
            return Refused("tls-refused", f"{meaning}: {problem.message}", hint=hint, vm=problem.vm)
    return problem
