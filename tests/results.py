"""What one kvmctl command did, as the tests see it, and the command lines they write."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Command = str | Sequence[str | Path]
"""A command line: a string is split as a shell would."""


class Result:
    """What one kvmctl command did."""

    def __init__(self, command: Sequence[str], stdout: str, stderr: str, exit_code: int) -> None:
        self.command = command
        self.stdout = stdout
        self.stderr = stderr
        self.exit_code = exit_code

    @property
    def json(self) -> Any:
        """stdout, read as JSON."""
        return json.loads(self.stdout)

    def __repr__(self) -> str:
        said = f"kvmctl {shlex.join(self.command)}: exit code {self.exit_code}"
        return f"{said}\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"

    def expect(self, exit_code: int | None) -> Result:
        """Fail the test unless the exit code is this one; None takes any. A traceback is never right."""
        assert exit_code is None or self.exit_code == exit_code, f"exit code {exit_code} was expected\n{self!r}"
        assert "Traceback (most recent call last)" not in self.stderr or "--debug" in self.command, repr(self)
        return self


def words(command: Command) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
