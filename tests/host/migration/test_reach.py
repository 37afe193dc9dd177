"""How the source would reach the target, and what names mean."""

from __future__ import annotations

import pytest

from kvmctl.host.migration import reach

TCP = "qemu+tcp://10.0.0.2/system"


@pytest.mark.parametrize(
    ("source", "target", "hostname", "expected"),
    [
        ("qemu:///system", TCP, "host2", [TCP]),
        ("qemu:///system", "qemu+ssh://root@host2:22/system", "h", ["qemu+ssh://root@host2:22/system"]),
        # Keys and known hosts are files of whoever runs kvmctl; where the socket is holds for all.
        (
            "qemu:///system",
            "qemu+ssh://host2/system?keyfile=/home/me/key&socket=/run/x&known_hosts=/y",
            "host2",
            ["qemu+ssh://host2/system?socket=/run/x"],
        ),
        # The target is this machine: the source reaches it as it is reached itself.
        ("qemu+ssh://admin@host1/system", "qemu:///system", "host2", ["qemu+ssh://admin@host2/system"]),
        ("qemu+tls://host1/system", "qemu:///system", "host2", ["qemu+tls://host2/system"]),
        ("qemu:///system", "qemu+unix:///system?socket=/x", "host2", ["qemu+ssh://root@host2/system"]),
        ("qemu+ssh://host1/system", "qemu+tcp://localhost/system", "host2", ["qemu+ssh://host2/system"]),
        ("qemu+ssh://host1/system", "qemu:///system", "localhost.localdomain", []),
    ],
)
def test_candidates(source: str, target: str, hostname: str, expected: list[str]) -> None:
    assert list(reach.candidates(source, target, hostname)) == expected


def test_names() -> None:
    assert reach.resolved("127.0.0.1") == ("127.0.0.1",)
    assert reach.resolved("") == ()
    assert reach.resolved("no.such.name.invalid") == ()
    assert reach.leads_nowhere("localhost", local=False)
    assert reach.leads_nowhere("no.such.name.invalid", local=True)
    assert not reach.leads_nowhere("no.such.name.invalid", local=False)
    assert not reach.leads_nowhere("10.0.0.2", local=True)
