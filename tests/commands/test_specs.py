"""Where the bytes of a spec come from: files, standard input, pipes, and all that is none of these."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from kvmctl.commands import _specs
from kvmctl.commands._specs import read_spec_bytes
from kvmctl.errors import KvmctlError
from kvmctl.spec.nodes import SIZE_LIMIT


def failure(path: str | Path) -> KvmctlError:
    with pytest.raises(KvmctlError) as caught:
        read_spec_bytes(str(path))
    return caught.value


def test_a_file_is_read_and_named_as_given(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_bytes(b"name: x\n")
    assert read_spec_bytes(str(tmp_path / "vm.yaml")) == (b"name: x\n", str(tmp_path / "vm.yaml"))


def test_standard_input_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * (SIZE_LIMIT + 10))))
    data, name = read_spec_bytes("-")
    assert (len(data), name) == (SIZE_LIMIT + 1, "<stdin>")
    monkeypatch.setattr(sys, "stdin", None)
    assert failure("-").code == "file-not-found"


def test_what_never_ends_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100 << 20)
    start = time.monotonic()
    for path in ("/dev/zero", str(large)):
        assert len(read_spec_bytes(path)[0]) == SIZE_LIMIT + 1
    assert time.monotonic() - start < 10


def test_what_is_missing_or_no_file(tmp_path: Path) -> None:
    assert failure(tmp_path / "none.yaml").exit_code == 3
    assert failure("x" * 5000).exit_code == 3
    error = failure(tmp_path)
    assert (error.code, error.exit_code) == ("spec-unreadable", 4)
    assert "is a directory" in error.message


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    error = failure(tmp_path / "vm.yaml")
    assert (error.code, error.exit_code) == ("file-not-found", 3)
    assert "permission" in error.message


def test_a_named_pipe_is_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            file.write(b"name: ")
            time.sleep(0.1)
            file.write(b"x\n")

    writer = threading.Thread(target=write)
    writer.start()
    assert read_spec_bytes(str(pipe))[0] == b"name: x\n"
    writer.join()


def test_a_silent_pipe_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_specs, "PIPE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    assert failure(tmp_path / "pipe").code == "timed-out"
