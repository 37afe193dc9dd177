"""How the kernel is told to give a device back, in a tree of files; by a real kernel it is done in tests/metal."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmctl.errors import KvmctlError
from kvmctl.host.pci.releasing import reprobe

ADDRESS = "0000:3b:00.0"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The device, without a driver."""
    place = tmp_path / "sys/bus/pci/devices" / ADDRESS
    place.mkdir(parents=True)
    (place / "driver_override").write_text("vfio-pci\n")
    (tmp_path / "sys/bus/pci/drivers_probe").touch()
    return place


def test_one_without_a_driver_is_offered_to_all(tmp_path: Path, place: Path) -> None:
    reprobe(ADDRESS, tmp_path)
    assert (place / "driver_override").read_text() == "\n"
    assert (tmp_path / "sys/bus/pci/drivers_probe").read_text() == ADDRESS


@pytest.mark.parametrize(("driver", "unbound"), [("vfio-pci", ADDRESS), ("nvme", "")])
def test_only_drivers_of_vfio_lose_it(tmp_path: Path, place: Path, driver: str, unbound: str) -> None:
    home = tmp_path / "sys/bus/pci/drivers" / driver
    home.mkdir(parents=True)
    (home / "unbind").touch()
    (place / "driver").symlink_to(home)
    reprobe(ADDRESS, tmp_path)
    assert (home / "unbind").read_text() == unbound


def test_a_device_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KvmctlError, match="does not give"):
        reprobe(ADDRESS, tmp_path)
