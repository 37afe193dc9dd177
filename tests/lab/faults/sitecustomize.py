"""Put on PYTHONPATH, this makes a kvmctl process fail at a chosen libvirt call; FAULT_LOG gets the calls there were.

FAULT_AT is the number of the call, from 1. FAULT says how: `before` and `after` kill the process there, `error` lets
the call fail without being made, `interrupt` sends SIGINT before it.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import libvirtmod

PASSED = ("virEvent", "virInitialize", "virRegister", "virGetLastError", "virResetLastError", "virConnectClose")
"""Calls that never reach a host, and the good-bye."""
LOCAL = ("Free", "GetName", "GetUUIDString")
"""How the names of others end that never do."""
FAILURES = dict.fromkeys(
    (
        *("virDomainSetMetadata", "virDomainSetAutostart", "virDomainCreateWithFlags"),
        *("virDomainPinVcpuFlags", "virDomainPinEmulator", "virDomainPinIOThread", "virDomainSetNumaParameters"),
    ),
    -1,
)
"""What these give when they fail; all others that can fail here give None."""
DEEDS = (*FAILURES, "virDomainDefineXML", "virDomainDefineXMLFlags", "virStorageVolCreateXML")
"""What changes a host: the calls that can be made to fail."""

count = itertools.count(1)
lock = threading.Lock()


def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        kind, at = os.environ.get("FAULT", ""), int(os.environ.get("FAULT_AT", "0"))
        if kind == "error" and name not in DEEDS:
            return function(*arguments)
        with lock:
            number = next(count)
            with open(os.environ["FAULT_LOG"], "a", encoding="utf-8") as log:
                log.write(f"{number} {name}\n")
        if number == at and kind == "error":
            return FAILURES.get(name)
        if number == at and kind == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if number == at and kind == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments)
        if number == at and kind == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


if "FAULT_LOG" in os.environ:
    for name in dir(libvirtmod):
        function = getattr(libvirtmod, name)
        if name.startswith("vir") and callable(function) and not name.startswith(PASSED) and not name.endswith(LOCAL):
            setattr(libvirtmod, name, wrapped(name, function))
