"""`make demo`: a real guest from a YAML file, booted, looked at, stopped and deleted by kvmctl from the clone.

It runs on the embedded host, libvirt's QEMU driver inside kvmctl itself: no daemon, no root. Files go to the user's
cache and to kvmctl's own state directory; the VM and its disk are removed at the end, also when a step fails.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.environment import CACHE, ROOT
from tests.lab.guest import COMMAND_LINE, UP, GuestError, provide

NAME = "kvmctl-demo"
PLACE = CACHE / "demo"
LOG = PLACE / "console.log"
UP_SECONDS = 90

SPEC = """\
# A VM that boots a kernel and an initramfs directly.
name: {name}
description: the guest of 'make demo'
accelerator: auto          # KVM where the machine has it, else emulation
cpu: 1
memory: 256MiB
boot:
  kernel: {kernel}
  initrd: {initrd}
  cmdline: {cmdline}
disks:
  - size: 64MiB            # a new qcow2 file
networks:
  - user: true             # needs neither root nor a bridge
serial: {{log: {log}}}
"""


class DemoError(Exception):
    """A step failed; the message says which."""


def say(line: str) -> None:
    print(f"==> {line}", flush=True)


def kvmctl(*arguments: str, must_work: bool = True, quiet: bool = False) -> int:
    if not quiet:
        print(f"$ kvmctl {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "kvmctl", "--host", "embedded", *arguments]
    output = subprocess.DEVNULL if quiet else None
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    if done.returncode and must_work:
        raise DemoError(f"kvmctl {arguments[0]} failed with exit code {done.returncode}")
    return done.returncode


def wait_until_up() -> None:
    """The guest itself says it, on its console."""
    started = time.monotonic()
    while UP not in (LOG.read_text(errors="replace") if LOG.exists() else ""):
        if time.monotonic() - started > UP_SECONDS:
            raise DemoError(f"the guest did not say '{UP}' within {UP_SECONDS} s; its console is in {LOG}")
        time.sleep(0.1)
    for line in LOG.read_text(errors="replace").splitlines():
        if "kvmctl guest:" in line:
            print(f"    {line.strip()}")


def demo() -> None:
    say("making a guest: Debian's cloud kernel and a busybox, downloaded as packages once and kept in the cache")
    guest = provide()
    PLACE.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    spec = PLACE / f"{NAME}.yaml"
    spec.write_text(SPEC.format(name=NAME, kernel=guest.kernel, initrd=guest.initrd, cmdline=COMMAND_LINE, log=LOG))
    remove(quiet=True)  # what an earlier demo left, if it was killed
    say(f"this is the spec, {spec}")
    print("".join(f"    {line}\n" for line in spec.read_text().splitlines()), end="")
    say("creating the VM, with its disk, and starting it")
    kvmctl("create", str(spec), "--start")
    say("waiting until the guest says on its console that it is up")
    wait_until_up()
    say("looking at it")
    kvmctl("list")
    kvmctl("show", NAME)
    say("stopping it: the guest is asked by its power button, and powers itself off")
    kvmctl("stop", NAME)
    kvmctl("list")


def remove(*, quiet: bool) -> None:
    kvmctl("delete", NAME, "--force", "--disks", must_work=False, quiet=quiet)


def main() -> int:
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        demo()
        say("deleting it, with its disk")
        kvmctl("delete", NAME, "--disks")
    except (DemoError, GuestError) as problem:
        remove(quiet=True)
        print(f"demo failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        remove(quiet=True)
        print("demo interrupted; the VM is gone", file=sys.stderr)
        return 130
    say(f"done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
