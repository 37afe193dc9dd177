"""`make metal`: a shell in the machine, with kvmctl and specs at hand; the machine is gone when the shell ends."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import Any

from tests.environment import CACHE
from tests.metal import specs
from tests.metal.image import ImageError
from tests.metal.machine import Machine, MetalError, missing

WELCOME = """\
You are root on a Debian 13 with real KVM: 2 NUMA nodes with a socket, 2 cores and 4 threads each, an IOMMU, a network
card with 7 virtual functions, an NVMe disk on node 1. It is emulated: have patience. /opt/kvmctl is your clone, live.

    kvmctl host check                        what the host offers
    kvmctl create guest.yaml --start         a small guest; its console is in guest.log
    kvmctl create burn.yaml touch.yaml       one keeps 2 vCPUs busy, one writes to all its memory
    kvmctl -H {uri} list
                                             the same from outside, in another terminal

Leave with 'exit' or Ctrl-D: the machine then ends, and nothing of it stays but its system in {cache},
which makes the next start quick.
"""


def visit(machine: Machine, **terminal: Any) -> int:
    """A shell on this terminal, or another, with specs at hand; its exit code."""
    specs.write(machine.shared, "guest")
    specs.write(machine.shared, "burn", "cpu: 2", work="burn")
    specs.write(machine.shared, "touch", "memory: 256MiB", work="touch")
    (machine.shared / ".welcome").write_text(WELCOME.format(uri=machine.outside_uri, cache=CACHE))
    return subprocess.call([*machine.enter("-t"), "cd /shared && cat .welcome && exec bash"], **terminal)


def main() -> int:
    absent = missing()
    if absent:
        print(f"the metal machine {absent}", file=sys.stderr)
        return 1
    print("Booting, half a minute or more; the first time the system is made before, in two minutes or so.", flush=True)
    try:
        machine = Machine().boot()
    except (ImageError, MetalError) as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    with closing(machine):
        return visit(machine)


if __name__ == "__main__":
    sys.exit(main())
