"""Devices by what people call them."""

from __future__ import annotations

import pytest

from kvmctl.errors import NotFound, Refused
from kvmctl.plan.pci.find import address_in_full, find
from tests.plan.pci.world import device, host

A, B = "0000:3b:00.0", "0001:3c:1f.7"
KNOWN = host(
    device(A, interfaces=("eth2",), serial="SN-1"),
    device(B, "nvme", blocks=("nvme1n1",), serial="SN-2"),
    device("0000:3d:00.0", "nvme", blocks=("nvme2n1",), serial="SN-2"),
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (A, A),
        ("3b:00.0", A),
        ("3b:0.0", A),
        ("0001:3C:1F.7", B),
        ("eth2", A),
        ("nvme1n1", B),
        ("/dev/nvme1n1", B),
        ("SN-1", A),
    ],
)
def test_found(text: str, address: str) -> None:
    assert find(KNOWN, text) == address


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3b:00.1", "did you mean 0000:3b:00.0?"),
        ("3b:00", "write bus, slot and function"),
        ("3b:00.", "write bus, slot and function"),
        ("eth3", "did you mean eth2?"),
        ("", "kvmctl pci list"),
        ("; rm -rf /", "kvmctl pci list"),
    ],
)
def test_not_found(text: str, said: str) -> None:
    with pytest.raises(NotFound) as caught:
        find(KNOWN, text)
    assert caught.value.code == "device-not-found"
    assert said in caught.value.hint


def test_two_of_one_name() -> None:
    with pytest.raises(Refused) as caught:
        find(KNOWN, "SN-2")
    assert caught.value.code == "device-ambiguous"
    assert B in caught.value.message


@pytest.mark.parametrize("text", ["3b:20.0", "3b:00.8", "zz:00.0", "3b:00.0.0", "0x3b:00.0"])
def test_no_address(text: str) -> None:
    assert address_in_full(text) is None
