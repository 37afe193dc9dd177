"""Every error that kvmctl knows: one class per exit code, one stable code per cause.

KvmctlError            1  failed
├── UsageError         2  the command line is wrong
├── NotFound           3  what was named is not there
├── SpecError          4  the spec is wrong
├── Refused            5  unsafe, or a precondition is missing
├── Conflict           6  exists already, or changed by another meanwhile
├── HostUnreachable    7  host unreachable or not authorised
├── TimedOut           8  a time limit was reached
├── PartialFailure     9  some of several failed
└── Interrupted      130  interrupted, and undone

Raised anywhere, caught only in `cli.py`. A code is declared here, in the `codes` of its class, with the
sentence that documents it; an undeclared code cannot be raised. Nothing here prints or exits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar


class KvmctlError(Exception):
    """A failure, told in three parts: what happened (`message`), its stable `code`, and what to do next (`hint`).

    `vm` names the VM it is about; `details` are further lines for people (one string each).
    """

    exit_code: ClassVar[int] = 1
    codes: ClassVar[dict[str, str]] = {
        "libvirt-failed": "libvirt refused or failed an operation, for the reason it gives.",
        "write-failed": "The answer could not be written, because the disk is full for example.",
        "libvirt-missing": "Python finds no usable libvirt module.",
        "command-failed": "A helper program, qemu-img for example, failed.",
        "internal": "A defect in kvmctl itself; --debug shows where.",
    }

    def __init__(self, code: str, message: str, *, hint: str = "", vm: str = "", details: Sequence[str] = ()) -> None:
        if code not in self.codes:
            raise ValueError(f"error code {code!r} is not declared in {type(self).__name__}.codes")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.vm = vm
        self.details = tuple(details)

    def as_dict(self) -> dict[str, Any]:
        """The error as machine-readable output carries it."""
        shape: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }
        if self.vm:
            shape["vm"] = self.vm
        return shape


class UsageError(KvmctlError):
    exit_code = 2
    codes: ClassVar[dict[str, str]] = {
        "usage": "The command line is wrong: an unknown command, option or value.",
        "bad-config": "The configuration file is wrong.",
    }


class NotFound(KvmctlError):
    exit_code = 3
    codes: ClassVar[dict[str, str]] = {
        "vm-not-found": "The host has no VM of that name or UUID.",
        "file-not-found": "A file that was named is not there or cannot be read.",
        "template-not-found": "There is no template of that name.",
        "host-not-found": "The configuration has no host of that name.",
        "network-not-found": "The host has no network of that name.",
        "pool-not-found": "The host has no storage pool of that name.",
        "no-console": "The VM has no serial console to connect to.",
    }


class Problem:
    """One mistake in a spec: its place, the key path it concerns, what is wrong and what to write instead.

    `line` and `column` count from 1; `text` is the line of the file, for showing it with a caret.
    """

    __slots__ = ("column", "file", "hint", "line", "message", "path", "text")

    def __init__(
        self, *, file: str, line: int, column: int, path: str, message: str, hint: str = "", text: str = ""
    ) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.message = message
        self.hint = hint
        self.text = text

    def as_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }

    def lines(self) -> Iterator[str]:
        """The problem for a person: place and message, the line, a caret below the column, the hint."""
        about = f"{self.path}: " if self.path else ""
        yield f"{self.file}:{self.line}:{self.column}: {about}{self.message}"
        if self.text:
            start = max(0, self.column - 60)
            shown = "".join(c if c.isprintable() else " " for c in self.text[start : start + 100])
            number = f"{self.line:>5}"
            yield f"{number} | {shown}"
            yield f"{' ' * len(number)} | {' ' * (self.column - 1 - start)}^"
        if self.hint:
            yield f"  hint: {self.hint}"


class SpecError(KvmctlError):
    """All mistakes of one spec, or of several, at once."""

    exit_code = 4
    codes: ClassVar[dict[str, str]] = {
        "spec-invalid": "A spec has mistakes; each is given with file, line, column and key.",
        "spec-unreadable": "A spec is not text, too large, or nested too deeply to be read as YAML.",
    }

    def __init__(self, code: str, message: str, *, problems: Sequence[Problem] = (), hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.problems = tuple(problems)
        self.details = tuple(line for problem in self.problems for line in problem.lines())

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "where": [problem.as_dict() for problem in self.problems]}


class Refused(KvmctlError):
    exit_code = 5
    codes: ClassVar[dict[str, str]] = {
        "vm-running": "The VM is running, and this needs it stopped.",
        "vm-not-running": "The VM is not running, and this needs it running.",
        "vm-half-created": "A create was interrupted; run it again to finish it, or delete the VM.",
        "disk-in-use": "A disk is used by another VM, directly or as backing image.",
        "unsafe-uri": "A libvirt URI has a part that runs commands or switches checks off.",
        "console-busy": "Another client is connected to the console.",
        "not-supported": "This host, or this kind of connection, cannot do it.",
        "no-space": "There is not enough room on the file system.",
        "resource-missing": "Something the VM needs is not there on the host.",
    }


class Conflict(KvmctlError):
    exit_code = 6
    codes: ClassVar[dict[str, str]] = {
        "vm-exists": "A VM of that name or UUID exists already.",
        "disk-exists": "A file or volume stands where a new disk was to be made.",
        "file-exists": "A file that would be written exists already.",
        "state-changed": "The VM changed its state meanwhile.",
    }


class HostUnreachable(KvmctlError):
    exit_code = 7
    codes: ClassVar[dict[str, str]] = {
        "host-unreachable": "The host does not answer, or the connection to it was lost.",
        "not-authorised": "The host answers and does not let us in.",
    }


class TimedOut(KvmctlError):
    exit_code = 8
    codes: ClassVar[dict[str, str]] = {
        "timed-out": "What was waited for did not come within the time limit.",
        "host-busy": "Another command uses the embedded host and did not finish within the time limit.",
    }


class PartialFailure(KvmctlError):
    """Some of several failed; each failure has been told already."""

    exit_code = 9
    codes: ClassVar[dict[str, str]] = {"partial-failure": "Some of several failed."}


class Interrupted(KvmctlError):
    exit_code = 130
    codes: ClassVar[dict[str, str]] = {"interrupted": "Interrupted from the keyboard, and undone."}


def all_classes() -> list[type[KvmctlError]]:
    """The tree, root first."""
    return [KvmctlError, *KvmctlError.__subclasses__()]
