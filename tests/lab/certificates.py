"""Certificates for TLS between hosts, made by openssl when a test asks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.hosts import Host

KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


class Authority:
    """Signs certificates; those of another authority are strangers to its own."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self.directory, self.name = directory, name
        self._openssl(f"req -x509 {KEY} -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}")

    def sign(self, name: str, *names: str, days: int = 30, purpose: str = "serverAuth,clientAuth") -> None:
        """A certificate for these names and addresses, such as DNS:host1; -1 days: it has expired."""
        (self.directory / "extensions").write_text(
            f"subjectAltName={','.join(names)}\nextendedKeyUsage={purpose}\nkeyUsage=digitalSignature\n"
        )
        self._openssl(f"req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}")
        by = f"-CA {self.name}.pem -CAkey {self.name}.key -CAcreateserial -extfile extensions"
        self._openssl(f"x509 -req -in {name}.csr {by} -days {days} -out {name}.pem")

    def give(self, host: Host, name: str) -> None:
        """Have a host's QEMUs show this certificate, and trust those of this authority."""
        self.lay(host.directory / "etc/pki", name)

    def lay(self, place: Path, name: str) -> None:
        """Put the files there that QEMU looks for."""
        shutil.copy(self.directory / f"{self.name}.pem", place / "ca-cert.pem")
        for side in ("server", "client"):
            shutil.copy(self.directory / f"{name}.pem", place / f"{side}-cert.pem")
            shutil.copy(self.directory / f"{name}.key", place / f"{side}-key.pem")

    def _openssl(self, arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], cwd=self.directory, check=True, capture_output=True)
