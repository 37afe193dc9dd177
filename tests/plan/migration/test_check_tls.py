"""For which hosts a certificate is, and by which name the source knows the target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmctl.plan.migration.check_tls import destination, is_for
from kvmctl.plan.migration.ends import Way
from tests.plan.migration.healthy import WAY, certificate, credentials, ends


@pytest.mark.parametrize(
    ("names", "common_name", "host", "expected"),
    [
        (("host2",), "", "host2", True),
        (("Host2.Example.org",), "", "host2.example.ORG", True),
        (("host2",), "", "host2.example.org", False),
        (("*.example.org",), "", "host2.example.org", True),
        (("*.example.org",), "", "a.host2.example.org", False),
        (("*.example.org",), "", "example.org", False),
        (("*.org",), "", "example.org", False),
        (("10.0.0.2",), "", "10.0.0.2", True),
        (("10.0.0.2",), "", "10.0.0.20", False),
        (("FD00:0:0:0:0:0:0:2",), "", "fd00::2", True),
        # The common name is of another time, and addresses never count there.
        ((), "host2", "host2", True),
        ((), "10.0.0.2", "10.0.0.2", False),
        (("10.0.0.2",), "host2", "host2", False),
        (("other",), "host2", "host2", False),
        ((), "", "host2", False),
    ],
)
def test_names(names: tuple[str, ...], common_name: str, host: str, expected: bool) -> None:
    assert is_for(certificate("x", names=names, common_name=common_name), host) is expected


@pytest.mark.parametrize(
    ("way", "said", "expected"),
    [
        (WAY, "", "host2"),
        (WAY, "10.0.0.9", "10.0.0.9"),
        (WAY, "[fd00::9]", "fd00::9"),
        (replace(WAY, configured="tcp://Host2-fast:49152"), "10.0.0.9", "host2-fast"),
        (replace(WAY, configured="tcp://[fd00::2]:49152"), "", "fd00::2"),
        (replace(WAY, configured="tcp://[fd00"), "", ""),
        (replace(WAY, loopback=True, address="10.0.0.2"), "", "10.0.0.2"),
    ],
)
def test_where_the_source_connects_to(way: Way, said: str, expected: str) -> None:
    assert destination(ends(way=way, target={"credentials": credentials("host2", host=said)})) == expected
