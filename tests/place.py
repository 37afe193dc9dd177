"""A place where commands are run: a host of the lab, or the metal machine. What differs is how to get there."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tests.results import Command, Result, words


class Place(ABC):
    """`start` brings a command there; `run` and `kvmctl` bring it to its end."""

    name: str
    program: Sequence[str]
    """The words that call kvmctl there."""
    seconds = 150.0
    """How long a command may take there, unless told otherwise."""

    @abstractmethod
    def start(
        self, command: Command, *, env: Mapping[str, str] | None = None, **attributes: Any
    ) -> subprocess.Popen[bytes]:
        """A command, running, with pipes; `attributes` are those of `Popen`."""

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End what `start` has started."""
        process.kill()

    def run(
        self,
        command: Command,
        *,
        check: bool = True,
        input: str = "",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A command, to its end; unless told not to `check`, the test fails with it."""
        process = self.start(command, env=env)
        try:
            stdout, stderr = process.communicate(input.encode(), timeout=timeout or self.seconds)
        except BaseException:
            self.kill(process)
            process.communicate()
            raise
        done = subprocess.CompletedProcess(words(command), process.returncode, stdout.decode(), stderr.decode())
        if check and done.returncode:
            raise AssertionError(f"{done.args} on {self.name}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def kvmctl(
        self,
        command: Command,
        *,
        exit: int | None = 0,
        input: str = "",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Result:
        """kvmctl, called there: `host1.kvmctl("create web1.yaml --start")`."""
        arguments = words(command)
        done = self.run([*self.program, *arguments], check=False, input=input, env=env, timeout=timeout)
        return Result(arguments, done.stdout, done.stderr, done.returncode).expect(exit)

    def start_kvmctl(self, command: Command, **attributes: Any) -> subprocess.Popen[bytes]:
        """kvmctl there, running, for tests that signal it or write to it."""
        return self.start([*self.program, *words(command)], **attributes)
