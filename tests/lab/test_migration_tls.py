"""`kvmctl migrate --tls`: memory goes encrypted between hosts that trust each other, and nowhere else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import sectors
from tests.lab.certificates import Authority
from tests.lab.hosts import Host, inner

LISTEN = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE: nothing is missed
wire.bind(("cable", 0))
print(flush=True)
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        file.write(wire.recv(1 << 17))
"""


@pytest.fixture
def authority(tmp_path: Path, host1: Host, host2: Host) -> Iterator[Authority]:
    authority = Authority(tmp_path)
    for host in (host1, host2):
        authority.sign(host.name, f"DNS:{host.name}", f"IP:{host.address}")
        authority.give(host, host.name)
    yield authority
    for host in (host1, host2):
        for file in (host.directory / "etc/pki").iterdir():
            file.unlink()


@pytest.fixture
def web1(host1: Host, host2: Host, tmp_path: Path) -> None:
    host1.kvmctl(["create", sectors.spec(tmp_path, "web1", "deaf"), "--start"])


@contextmanager
def overheard(host: Host, file: Path) -> Iterator[None]:
    """What goes over the cable is in the file afterwards."""
    with host.start([sys.executable, "-c", LISTEN, file]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        os.kill(inner(process), signal.SIGTERM)


@pytest.mark.usefixtures("authority", "web1")
@pytest.mark.parametrize("how", ["--p2p", "--managed"])
def test_nobody_can_read_along(host1: Host, host2: Host, tmp_path: Path, how: str) -> None:
    """The BIOS, which every guest has in its memory, is on the cable without TLS alone."""
    with overheard(host2, tmp_path / "plain"):
        host1.kvmctl(f"migrate web1 host2 {how}")
    with overheard(host2, tmp_path / "secret"):
        host1.kvmctl(f"-H host2 migrate web1 host1 --tls {how}")
    assert b"SeaBIOS" in (tmp_path / "plain").read_bytes()
    assert b"SeaBIOS" not in (tmp_path / "secret").read_bytes()
    assert (tmp_path / "secret").stat().st_size > 1 << 18, "its memory did go over the cable"
    assert host1.kvmctl("-H qemu:///system list -o name --running").stdout == "web1\n"
    assert "web1" not in host2.qemus()


@pytest.mark.usefixtures("web1")
@pytest.mark.parametrize("how", ["--p2p", "--managed"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("none", "a host has no certificates for migration"),
        ("strangers", "the hosts do not trust each other's certificates"),
        ("name", "the target's certificate is for another name"),
    ],
)
def test_a_host_that_is_not_trusted(
    host1: Host, host2: Host, authority: Authority, tmp_path: Path, fault: str, said: str, how: str
) -> None:
    if fault == "none":
        for file in (host2.directory / "etc/pki").iterdir():
            file.unlink()
    elif fault == "strangers":
        other = Authority(tmp_path, "other")
        other.sign("stranger", "DNS:host2", "IP:10.77.0.2")
        other.give(host2, "stranger")
    else:
        authority.sign("elsewhere", "DNS:elsewhere")
        authority.give(host2, "elsewhere")
    refused = host1.kvmctl(f"migrate web1 host2 --tls {how} -o json", exit=5)
    assert json.loads(refused.stdout.splitlines()[-1])["error"]["code"] == "tls-refused"
    # Who finds the wrong name hangs up, and the other end may be heard first.
    assert said in refused.stderr or (fault == "name" and "do not trust" in refused.stderr)
    assert "hint: " in refused.stderr
    assert host1.kvmctl("-H qemu:///system list -o name --running").stdout == "web1\n"
    assert host2.kvmctl("-H qemu:///system list -o name").stdout == ""


@pytest.mark.parametrize(
    ("names", "days", "code"),
    [
        (("DNS:host1", "IP:10.77.0.1"), 30, ""),
        (("DNS:host1", "IP:10.77.0.1"), -1, "certificate-expired"),
        (("DNS:host1", "IP:10.77.0.1"), 3, "certificate-expires"),
        (("DNS:host1",), 30, "certificate-name"),  # its qemu.conf has others connect to its address
    ],
)
def test_what_is_wrong_with_a_certificate_is_told_before(
    host1: Host, host2: Host, authority: Authority, tmp_path: Path, names: tuple[str, ...], days: int, code: str
) -> None:
    """What the check says of the target, on which kvmctl runs, and what QEMU then makes of it."""
    host2.kvmctl(["create", sectors.spec(tmp_path, "web1", "deaf"), "--start"])
    authority.sign("server", *names, days=days)
    for file in ("cert", "key"):
        made = tmp_path / f"server.{file.replace('cert', 'pem')}"
        shutil.copy(made, host1.directory / f"etc/pki/server-{file}.pem")
    bad = code in ("certificate-expired", "certificate-name")
    told = host1.kvmctl("-H host2 migrate web1 qemu:///system --tls --check -o json", exit=5 if bad else 0)
    findings = {each["code"]: each for each in json.loads(told.stdout)["findings"]}
    assert {each for each in findings if each.startswith("certificate-")} == ({code} if code else set())
    assert findings["certificates-unseen"]["verdict"] == "note"  # those of host2
    assert ("certificates" in findings) is (not code)
    if bad:
        refused = host1.kvmctl("-H host2 migrate web1 qemu:///system --tls -o json", exit=5)
        assert code in refused.stdout
        # By another way to the same host, of which kvmctl does not know that it is this one.
        assert "tls-refused" in host1.kvmctl("-H host2 migrate web1 host1 --tls -o json", exit=5).stdout
    assert host1.kvmctl("-H host2 list -o name --running").stdout == "web1\n"


@pytest.mark.usefixtures("authority", "web1")
def test_what_the_source_lacks_is_told_before(host1: Host) -> None:
    place = host1.directory / "etc/pki"
    (place / "client-key.pem").unlink()
    told = host1.kvmctl("migrate web1 host2 --tls --check -o json", exit=5)
    [finding] = [each for each in json.loads(told.stdout)["findings"] if each["verdict"] == "blocker"]
    assert finding["code"] == "certificate-missing"
    assert "client-key.pem" in finding["what"]
    assert finding["hint"]
