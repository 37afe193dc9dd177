"""An interactive shell on a terminal of its own, as a person has it, with kvmctl's completion loaded.

A program called `kvmctl` answers completion as the real one does; called otherwise it notes its arguments, so a
test types a line with TABs in it and learns what the shell made of it.
"""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.environment import ROOT

LIMIT = 100.0
COMPLETIONS = ROOT / "completions"
LOAD = {
    "bash": f"source {shlex.quote(str(COMPLETIONS))}/kvmctl.bash",
    "zsh": f"fpath=({shlex.quote(str(COMPLETIONS))} $fpath); autoload -U compinit; compinit -D -u",
    "fish": f"source {shlex.quote(str(COMPLETIONS))}/kvmctl.fish",
}
"""How each shell finds the script: zsh by itself on its path of functions, the others by reading it."""

START = {
    "bash": ["bash", "--noprofile", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


class Shell:
    """`Shell("bash", folder).type("kvmctl sto\\t")` gives the arguments: ["stop"]."""

    def __init__(self, name: str, folder: Path, *, python: str = sys.executable) -> None:
        self.noted = folder / "noted"
        programs, home, self.work = (folder / part for part in ("bin", "home", "work"))
        for path in (programs, home, self.work):
            path.mkdir(parents=True)
        program = programs / "kvmctl"
        program.write_text(
            "#!/bin/sh\n"
            f'[ "$_KVMCTL_COMPLETE" ] && PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(python)} -m kvmctl\n'
            f"printf '%s\\n' \"$@\" > {self.noted}.part && mv {self.noted}.part {self.noted}\n"
        )
        program.chmod(0o755)
        environment = {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "KVMCTL_STATE_DIR": str(home / "state"),
        }
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(self.work)
            os.execvpe(START[name][0], START[name], environment)
        self.screen = b""
        # The shell is ready when it has done what it read; the quotes keep the echo of the line from looking like it.
        self._send(f"{LOAD[name]}; echo LOA''DED\n")
        self._wait(lambda: b"LOADED" in self.screen)

    def type(self, line: str) -> list[str]:
        """Type the line and Enter; what kvmctl was called with."""
        self.noted.unlink(missing_ok=True)
        self._send(f"{line}\n")
        self._wait(self.noted.exists)
        return self.noted.read_text().splitlines()

    def close(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.close(self.terminal)
        os.waitpid(self.process, 0)

    def _send(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def _wait(self, until: Callable[[], bool]) -> None:
        """Read what the shell shows until it is so."""
        end = time.monotonic() + LIMIT
        while not until():
            assert time.monotonic() < end, (
                f"the shell does not answer; it showed:\n{self.screen.decode(errors='replace')}"
            )
            if select.select([self.terminal], [], [], 0.02)[0]:
                self.screen += os.read(self.terminal, 65536)
