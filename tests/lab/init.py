"""PID 1 of a lab host: prepares the namespaces it was started in, reaps, and takes everything with it when it ends.

    unshare --mount --net --uts --pid --ipc --fork --kill-child --mount-proc --propagation private \\
        python3 init.py NAME DIRECTORY < PIPE

It ends when the other end of the pipe closes, which also happens when the test run is killed with -9: then it kills
every process of the host, unmounts, and removes DIRECTORY. Needs nothing but Python's own library.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

MOUNTS = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
    "run": "/run",
    "hosts": "/etc/hosts",
    "passwd": "/etc/passwd",
    "shadow": "/etc/shadow",
}
"""What stands in DIRECTORY, and where the host sees it. `passwd` gives root a home inside DIRECTORY, for ssh."""


def call(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def prepare(name: str, directory: Path) -> None:
    call("hostname", name)
    call("ip", "link", "set", "lo", "up")
    for inside, place in MOUNTS.items():
        # Debian makes libvirt's directories with libvirt-daemon-system only, else libvirtd does.
        if (directory / inside).is_dir():
            Path(place).mkdir(parents=True, exist_ok=True)
        else:
            Path(place).touch()
        call("mount", "--bind", str(directory / inside), place)
    # Its own view of network cards; without cgroups, which libvirt then leaves alone.
    call("mount", "-t", "sysfs", "sysfs", "/sys")


def reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def serve() -> None:
    """Reap until the pipe closes. A zombie would cost libvirt two seconds at every stop of a QEMU."""
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            reap()
        if 0 in ready and not os.read(0, 1):
            return


def finish(directory: Path, places: Iterable[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    os.chdir("/")
    for place in places:
        subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):  # while the other host is still there
        directory.parent.rmdir()


def main() -> None:
    if os.getpid() != 1:
        sys.exit("init.py is for PID 1 of a lab host; see its docstring")
    name, directory = sys.argv[1], Path(sys.argv[2])
    try:
        prepare(name, directory)
        print("ready", flush=True)
        serve()
    finally:
        finish(directory, MOUNTS.values())


if __name__ == "__main__":
    main()
