"""The ssh that libvirt starts for qemu+ssh: it asks nothing where nobody can answer, and it does not outlive us.

libvirt verifies host keys as ssh itself does. Which keys are known is for the user's ssh to say, never for us.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path


def may_prompt() -> bool:
    """True if a person can read a question and answer it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def without_prompts(uri: str) -> str:
    """The URI with ssh told never to ask."""
    if "no_tty=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}no_tty=1"


def end_children(uri: str) -> None:
    """End the ssh processes that libvirt started in our name for this host and that nobody waits for any more."""
    machine = uri.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
    name = machine.rpartition(":")[0] or machine
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError, IndexError, ValueError):
            # After the program's name, which may hold anything and stands in brackets: state, parent.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if parent == os.getpid() and words[0].endswith(b"ssh") and name.strip("[]").encode() in words:
                os.kill(int(entry.name), signal.SIGTERM)
