"""Where the tests' own things are, and what an isolated environment is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The clone."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvmctl"
"""The user's own cache, looked up before any test isolates itself: what is slow to make is kept there."""

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""Where programs are looked for: a user's own path often leaves out the administrator's."""

KEPT = ("TMPDIR", "TERM", "CI", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


def isolated(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """An environment with a home of its own, no colour, 80 columns, and no setting of kvmctl's or libvirt's."""
    runtime = home / "run"
    runtime.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {
        **{name: environment[name] for name in KEPT if name in environment},
        "PATH": PATH,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_RUNTIME_DIR": str(runtime),
        "NO_COLOR": "1",
        "COLUMNS": "80",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }
