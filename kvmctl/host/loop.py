"""libvirt's event loop, in a thread of its own, for as long as the process lives. There is only one per process."""

from __future__ import annotations

import threading

from kvmctl.host.library import libvirt

_lock = threading.Lock()
_started = threading.Event()


def start() -> None:
    """Have the loop running. Only connections opened afterwards use it."""
    with _lock:
        if _started.is_set():
            return
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run, name="libvirt events", daemon=True).start()
        _started.set()


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
