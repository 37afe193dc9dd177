"""libvirt calls over the wire, counted from libvirt's own log of the client."""

from __future__ import annotations

import re
from pathlib import Path

REMOTE_PROGRAMS = {0x20008086, 0x20008087}
"""Calls to libvirtd and to its QEMU part; a keep-alive message is no call."""

SHUTDOWN, SUBSCRIBE = 33, 316
"""Procedures: a guest is asked to shut down; events are asked for."""

SENT = re.compile(r"RPC_CLIENT_MSG_TX_QUEUE:.* prog=(\d+) vers=\d+ proc=(\d+) type=0 ")


def logging(file: Path) -> dict[str, str]:
    """The environment in which libvirt writes its remote calls to a file."""
    return {"LIBVIRT_LOG_FILTERS": "1:rpc", "LIBVIRT_LOG_OUTPUTS": f"1:file:{file}"}


def sent(file: Path) -> list[int]:
    """The numbers of the procedures called, in order."""
    log = file.read_text(errors="replace") if file.exists() else ""
    return [int(procedure) for program, procedure in SENT.findall(log) if int(program) in REMOTE_PROGRAMS]
