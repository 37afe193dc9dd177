"""`make lab`: a shell on host1, with kvmctl in the path; the lab is gone when the shell ends."""

from __future__ import annotations

import os
import sys

from tests.environment import ROOT
from tests.lab.guest import COMMAND_LINE, provide
from tests.lab.hosts import Host, Lab, missing

WELCOME = """\
You are root on host1 ({one}), a KVM host in namespaces of its own; host2 ({two}) is at the other end of a cable.

    kvmctl create guest.yaml --start        a small guest, up in seconds
    kvmctl console guest                    its console; ^] leaves
    kvmctl -H host1 -H host2 list           both hosts, by plain TCP
    kvmctl -H host2-ssh list                host2 by ssh
    virsh, ssh host2                        as on any host

Both are gone, with all their VMs, when you leave this shell.
"""

SPEC = """\
name: guest
accelerator: tcg
cpu: 1
memory: 128MiB
boot: {{kernel: {kernel}, initrd: {initrd}, cmdline: "{cmdline}"}}
disks: [{{size: 64MiB}}]
networks: [default]
"""


def furnish(host: Host) -> dict[str, str]:
    """Put kvmctl and a spec where the shell looks; the shell's environment."""
    program = host.directory / "bin/kvmctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kvmctl "$@"\n')
    program.chmod(0o755)
    guest = provide()
    spec = SPEC.format(kernel=guest.kernel, initrd=guest.initrd, cmdline=COMMAND_LINE)
    (host.home / "guest.yaml").write_text(spec)
    completion = ROOT / "completions/kvmctl.bash"
    (host.home / ".bashrc").write_text(
        f"PS1='host1:\\w# '\n. /usr/share/bash-completion/bash_completion 2>/dev/null\n. {completion} 2>/dev/null\n"
    )
    kept = {name: os.environ[name] for name in ("TERM", "COLORTERM", "LANG") if name in os.environ}
    path = f"{program.parent}:{host.environment['PATH']}"
    return {**{k: v for k, v in host.environment.items() if k not in ("NO_COLOR", "COLUMNS")}, **kept, "PATH": path}


def main() -> int:
    absent = missing()
    if absent:
        print(f"the lab {absent}", file=sys.stderr)
        return 1
    lab = Lab()
    try:
        one, two = lab.hosts
        environment = furnish(one)
        print(WELCOME.format(one=one.address, two=two.address))
        enter = one.enter()
        shell = ["sh", "-c", 'cd "$HOME" && exec bash']
        return os.spawnvpe(os.P_WAIT, enter[0], [*enter, *shell], environment)
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(main())
