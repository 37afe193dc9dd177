"""Style and types are tests: ruff's rules, ruff's format, and mypy as strict as it gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import ROOT


@pytest.mark.parametrize("arguments", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_nothing_is_found(arguments: list[str], tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "NO_COLOR": "1",
        "RUFF_CACHE_DIR": str(ROOT / ".ruff_cache"),
        "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache"),
    }
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
