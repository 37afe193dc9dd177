"""Deleting on the embedded host: files of its own, with nobody but itself to ask. Each command is a process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import OwnProcess

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs QEMU"),
]


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An embedded host of the test's own, below a short path as it needs; where its disks are."""
    with tempfile.TemporaryDirectory(prefix="kvmctl-") as directory:
        monkeypatch.setenv("KVMCTL_STATE_DIR", directory)
        monkeypatch.setenv("KVMCTL_HOST", "embedded")
        yield Path(directory, "embedded/images")


def spec(tmp_path: Path, name: str, disks: str) -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(f"name: {name}\naccelerator: tcg\nmemory: 32MiB\ndisks: {disks}\n")
    return path


def test_disks_are_kept_or_deleted_and_images_are_guarded(
    run_process: OwnProcess, tmp_path: Path, images: Path
) -> None:
    run_process(["create", spec(tmp_path, "base", "[{size: 1MiB}]")])
    base = images / "base-vda.qcow2"
    over = f"[{{image: {{path: {base}, format: qcow2}}}}, {{path: {tmp_path}/link, format: qcow2}}]"
    (tmp_path / "link").symlink_to(base)
    run_process(["create", spec(tmp_path, "over", over)])
    refused = run_process("delete base --disks -o json", exit=5).json["error"]
    assert refused["code"] == "disk-in-use"
    assert "VM 'over'" in refused["message"]
    refused = run_process("delete over --disks -o json", exit=5).json["error"]
    assert f"{tmp_path}/link is used by VM 'base'" in refused["message"]
    assert base.exists()
    assert run_process("delete over -o json").json["disks_deleted"] == []
    # Nobody has the overlay now, but it still needs the image.
    assert "over-vda.qcow2, whose backing file it is" in run_process("delete base --disks", exit=5).stderr
    (images / "over-vda.qcow2").unlink()
    assert run_process("delete base --disks -o json").json["disks_deleted"] == [str(base)]
    assert list(images.iterdir()) == []
