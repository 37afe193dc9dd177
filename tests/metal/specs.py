"""Specs of VMs in the metal machine: small, under KVM, with the console in a file that is seen from outside too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.metal.guest import COMMAND_LINE
from tests.metal.machine import SHARED


def write(shared: Path, name: str, more: str = "", *, work: str = "") -> str:
    """Write the spec into the shared directory; its path in the machine. Keys in `more` go before those here."""
    spec: dict[str, Any] = {
        "name": name,
        "accelerator": "kvm",
        "cpu": 1,
        "memory": "128MiB",
        "boot": {
            "kernel": "/srv/guest/kernel",
            "initrd": "/srv/guest/initrd",
            "cmdline": f"{COMMAND_LINE} work={work}" if work else COMMAND_LINE,
        },
        "serial": {"log": str(SHARED / f"{name}.log")},
        **(yaml.safe_load(more) or {}),
    }
    (shared / f"{name}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return str(SHARED / f"{name}.yaml")
