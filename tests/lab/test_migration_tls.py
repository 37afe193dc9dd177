"""`kvmctl migrate --tls`: memory goes encrypted between hosts that trust each other, and nowhere else."""

from __future__ import annotations

import json
import os
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
