"""Disk files of the embedded host: by the real qemu-img where there is one. Whole files or none."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kvmctl.errors import Conflict, Interrupted, KvmctlError, Refused
from kvmctl.host import qemu_img
from kvmctl.parallel import Work
from kvmctl.plan.volumes import NewVolume
from tests.lab.waiting import until

MIB = 1 << 20
needs_qemu_img = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")


def work(limit: float = 30) -> Work:
    return Work(limit, threading.Event())


def volume(path: Path, **more: object) -> NewVolume:
    values = {"size": MIB, "format": "qcow2", "backing": None, "backing_format": None, "pool": None, **more}
    return NewVolume(path=str(path), name=path.name, **values)  # type: ignore[arg-type]


def info(path: Path) -> dict[str, object]:
    done = subprocess.run(["qemu-img", "info", "--output=json", str(path)], check=True, capture_output=True)
    told: dict[str, object] = json.loads(done.stdout)
    return told


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A qemu-img that does what the test writes into it."""
    program = tmp_path / "bin/qemu-img"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return program


def script(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@needs_qemu_img
def test_a_new_disk_is_private_and_of_the_size_and_format_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "new directory/web1-vda.qcow2"
    qemu_img.make(volume(path, size=5 * MIB), work())
    assert (info(path)["format"], info(path)["virtual-size"]) == ("qcow2", 5 * MIB)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == [path.name]


@needs_qemu_img
def test_the_backing_image_gives_the_size_and_keeps_its_format(tmp_path: Path) -> None:
    # A raw image in which a guest wrote a qcow2 header must stay raw.
    image, disk = tmp_path / "image.raw", tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1G"], check=True)
    size = image.stat().st_size // 512 * 512
    with image.open("r+b") as file:
        file.truncate(size)
    qemu_img.make(volume(disk, size=0, backing=str(image), backing_format="raw"), work())
    assert (info(disk)["virtual-size"], info(disk)["backing-filename-format"]) == (size, "raw")
    assert qemu_img.backing_file(str(disk)) == str(image)
    assert qemu_img.virtual_size(str(image), "raw", work()) == size
    assert qemu_img.virtual_size(str(image), "qcow2", work()) == 1 << 30


@pytest.mark.parametrize("kind", ["file", "dangling link", "directory"])
def test_what_is_there_is_not_touched(tmp_path: Path, fake: Path, kind: str) -> None:
    script(fake, "exit 9")
    path = tmp_path / "disk.qcow2"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict) as caught:
        qemu_img.make(volume(path), work())
    assert caught.value.code == "disk-exists"
    assert kind != "file" or path.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("links", [True, False])
def test_what_comes_meanwhile_is_not_touched(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    path = tmp_path / "disk.qcow2"
    script(fake, f'echo precious > "{path}"; echo new > "{tmp_path}/.disk.qcow2.kvmctl-new"')
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    with pytest.raises(Conflict):
        qemu_img.make(volume(path), work())
    assert path.read_text() == "precious\n"
    assert sorted(os.listdir(tmp_path)) == ["bin", "disk.qcow2", *(["home"] if (tmp_path / "home").exists() else [])]


def _no_links(*arguments: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@needs_qemu_img
def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", _no_links)
    qemu_img.make(volume(tmp_path / "disk.qcow2"), work())
    assert info(tmp_path / "disk.qcow2")["virtual-size"] == MIB
    assert not list(tmp_path.glob(".*kvmctl-new"))


@pytest.mark.parametrize(
    ("text", "code", "exit_code"),
    [
        ("echo 'qemu-img: x: Could not write qcow2 header: No space left on device' >&2; exit 1", "no-space", 5),
        ("echo 'qemu-img: x: Invalid parameter' >&2; exit 1", "command-failed", 1),
        ("kill -9 $$", "command-failed", 1),
    ],
)
def test_a_failure_leaves_nothing(tmp_path: Path, fake: Path, text: str, code: str, exit_code: int) -> None:
    script(fake, f'echo half > "{tmp_path}/.disk.qcow2.kvmctl-new"; {text}')
    with pytest.raises(KvmctlError) as caught:
        qemu_img.make(volume(tmp_path / "disk.qcow2"), work())
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert "qemu-img" in caught.value.message
    assert not list(tmp_path.glob("*disk.qcow2*"))
    assert not list(tmp_path.glob(".disk*"))


def test_interrupted_and_slow_work_ends_qemu_img(tmp_path: Path, fake: Path) -> None:
    script(fake, f'echo $$ > "{tmp_path}/pid"; exec sleep 1000')
    pid = tmp_path / "pid"
    cancelled = threading.Event()

    def cancel() -> None:
        until(lambda: pid.exists() and pid.read_text().endswith("\n"), "qemu-img runs")
        cancelled.set()

    threading.Thread(target=cancel).start()
    with pytest.raises(Interrupted):
        qemu_img.make(volume(tmp_path / "disk.qcow2"), Work(1000, cancelled))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    with pytest.raises(KvmctlError) as caught:
        qemu_img.make(volume(tmp_path / "disk.qcow2"), work(0.2))
    assert caught.value.code == "timed-out"


def test_without_qemu_img_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused) as caught:
        qemu_img.make(volume(tmp_path / "disk.qcow2"), work())
    assert caught.value.code == "resource-missing"
    assert "qemu-utils" in caught.value.hint


@pytest.mark.parametrize("field", ["path", "backing"])
def test_what_is_no_path_never_reaches_qemu_img(tmp_path: Path, fake: Path, field: str) -> None:
    script(fake, f'touch "{tmp_path}/called"')
    remote = "nbd:localhost:10809"
    good = volume(tmp_path / "x", size=0, backing_format="raw")
    wrong = replace(good, path=remote) if field == "path" else replace(good, backing=remote)
    with pytest.raises(Refused):
        qemu_img.make(wrong, work())
    assert not (tmp_path / "called").exists()


def test_remove_also_takes_what_a_killed_command_left(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.touch()
    (tmp_path / ".disk.qcow2.kvmctl-new").touch()
    assert qemu_img.remove(str(path)) is True
    assert not list(tmp_path.glob("*disk*")) + list(tmp_path.glob(".disk*"))
    assert qemu_img.remove(str(path)) is False
    path.mkdir()
    with pytest.raises(KvmctlError) as caught:
        qemu_img.remove(str(path))
    assert caught.value.code == "command-failed"
    assert path.is_dir()


@needs_qemu_img
def test_backing_files_are_read_from_the_header_alone(tmp_path: Path) -> None:
    def make(name: str, *more: str) -> str:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, name], check=True, cwd=tmp_path)
        return str(tmp_path / name)

    base = make("base.qcow2", "-o", "size=1M")
    assert qemu_img.backing_file(base) is None
    assert qemu_img.backing_file(make("relative.qcow2", "-b", "base.qcow2", "-F", "qcow2")) == base
    assert qemu_img.backing_file(make("absolute.qcow2", "-b", base, "-F", "qcow2")) == base
    described = 'json:{"driver":"qcow2","file":{"driver":"file","filename":"' + base + '"}}'
    assert qemu_img.backing_file(make("json.qcow2", "-b", described, "-F", "qcow2")) == described


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"QFI\xfb",
        b"QFI\xfb" + b"\xff" * 100,
        b"QFI\xfb\0\0\0\3" + b"\0" * 7 + b"\x10\xff\xff\xff\xff",
        b"raw" * 100,
    ],
)
def test_broken_headers_name_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "disk").write_bytes(data)
    assert qemu_img.backing_file(str(tmp_path / "disk")) is None
    assert qemu_img.backing_file(str(tmp_path / "none")) is None
