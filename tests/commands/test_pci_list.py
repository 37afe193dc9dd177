"""`kvmctl pci list` and `kvmctl pci show`: what there is of them without devices. The real ones are in tests/metal."""

from __future__ import annotations

from tests.conftest import InProcess

TEST = "-H test:///default"


def test_a_host_without_devices(run: InProcess) -> None:
    assert run(f"{TEST} pci list -o json").json == []
    assert run(f"{TEST} pci list").stdout.split()[:3] == ["ADDRESS", "CLASS", "DEVICE"]


def test_what_is_not_there(run: InProcess) -> None:
    for name in ("3b:00.0", "3b:00", "eth9"):
        error = run(f"{TEST} pci show {name} -o json", exit=3).json["error"]
        assert error["code"] == "device-not-found"
        assert error["hint"]


def test_a_kind_that_is_none(run: InProcess) -> None:
    assert "'gpu', 'nvme', 'nic'" in run(f"{TEST} pci list --class disk", exit=2).stderr


def test_the_group_tells_its_commands(run: InProcess) -> None:
    assert "Explain PCI devices" in run("pci --help").stdout
