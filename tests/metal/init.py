"""PID 1 beside the metal machine: mounts what its QEMU sees, starts it, and takes everything with it when it ends.

    unshare --mount --pid --fork --kill-child --mount-proc --propagation private \\
        python3 -m tests.metal.init IMAGE DIRECTORY CLONE QEMU-ARGUMENT... < PIPE

QEMU runs in the image's `root`: /image is the image, /machine is DIRECTORY, /opt/kvmctl is CLONE. As in the lab, the
end of the pipe is the end of everything, and DIRECTORY is removed. Needs nothing but Python's own library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.lab.init import call, finish, serve


def start(image: Path, directory: Path, clone: Path, arguments: list[str]) -> None:
    root = image / "root"
    for source, place in ((image, "image"), (directory, "machine"), (clone, "opt/kvmctl"), (Path("/dev"), "dev")):
        call("mount", "--bind", str(source), str(root / place))
    call("mount", "-t", "proc", "proc", str(root / "proc"))
    # What takes Python a moment here takes it seconds in the machine, which finds it there and copies it.
    compiled = ["env", "PYTHONPYCACHEPREFIX=/image/python", "python3", "-m", "compileall", "-q"]
    call("chroot", str(root), *compiled, "/opt/kvmctl/kvmctl")
    shutil.copytree(image / "python", directory / "shared/.python")
    with (directory / "qemu.log").open("wb") as log:
        environment = {"PATH": "/usr/bin:/usr/sbin", "TMPDIR": "/machine"}
        command = ["chroot", str(root), "qemu-system-x86_64", *arguments]
        # It inherits its end of the cable.
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, close_fds=False)


def main() -> None:
    if os.getpid() != 1:
        sys.exit("this is for PID 1 of a namespace; see its docstring")
    image, directory, clone = (Path(argument) for argument in sys.argv[1:4])
    try:
        start(image, directory, clone, sys.argv[4:])
        print("ready", flush=True)
        serve()
    finally:
        finish(directory, ())


if __name__ == "__main__":
    main()
