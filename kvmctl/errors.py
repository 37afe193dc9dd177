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
    tells_all = False
    """It is told even if the work was interrupted, since it says what became of it."""
    codes: ClassVar[dict[str, str]] = {
        "libvirt-failed": "libvirt refused or failed an operation, for the reason it gives.",
        "write-failed": "The answer could not be written, because the disk is full for example.",
        "libvirt-missing": "Python finds no usable libvirt module.",
        "command-failed": "A helper program, qemu-img for example, failed.",
        "migration-failed": "A migration failed for the reason given; the VM runs where it was.",
        "postcopy-failed": "A guest that ran at the target before its memory was there cannot go on; start it anew.",
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

    def of_interrupted_work(self) -> KvmctlError:
        """The same error, for work that cannot be simply undone."""
        self.tells_all = True
        return self

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
        "device-not-found": "The host has no PCI, USB or SCSI device that is called so, or no such mdev.",
        "node-not-found": "The host has no NUMA node of that number.",
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
        "hugepages-in-use": "Huge pages that are in use cannot be taken away.",
        "hugepages-short": "The kernel could not give as many huge pages as asked for; those that it gave are kept.",
        "impossible": "The spec asks for CPUs, nodes, memory, huge pages or rights that the host does not have.",
        "cpus-exclusive": "CPUs that one VM is to have alone are another VM's too.",
        "nothing-fits": "The host has no place for the VM as it is wished; what stands in the way is told.",
        "no-common-cpu": "The hosts named have no CPU that all of them could give to a VM.",
        "resource-missing": "Something the VM needs is not there on the host.",
        "not-migrating": "There is no migration of the VM that could be called off, or not any more.",
        "no-host-left": "No other host answers that a host's VMs could go to.",
        "tls-refused": "Hosts have no certificates to encrypt a migration with, or do not trust each other's.",
        "device-ambiguous": "Several devices are called so.",
        "no-free-port": "A running VM has no free PCI or USB port for a further device.",
        "device-not-free": "No device that would do is free, and can be given to a VM.",
        "device-refused": "Devices cannot be given to a VM: the host needs them, they share a group, or it is unsafe.",
        "migration-blocked": "Something is in the way of a migration; all that is gets told, before anything moves.",
    }


class Impossible(Refused):
    """Several reasons at once; `reasons` has code, message and hint of each, for programs."""

    def __init__(
        self, code: str, message: str, *, reasons: Sequence[dict[str, str]], hint: str = "", vm: str = ""
    ) -> None:
        lines = [line for reason in reasons for line in _told(reason)] if len(reasons) > 1 else []
        super().__init__(code, message, hint=hint, vm=vm, details=lines)
        self.reasons = tuple(reasons)

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "reasons": list(self.reasons)}


def _told(reason: dict[str, str]) -> Iterator[str]:
    """A reason for a person."""
    yield f"  {reason['message']}"
    if reason["hint"]:
        yield f"    hint: {reason['hint']}"


class Conflict(KvmctlError):
    exit_code = 6
    codes: ClassVar[dict[str, str]] = {
        "mdev-exists": "A mediated device of that UUID exists already, of another type or device.",
        "vm-exists": "A VM of that name or UUID exists already.",
        "disk-exists": "A file or volume stands where a new disk was to be made.",
        "file-exists": "A file that would be written exists already.",
        "cpus-taken": "CPUs that one VM has alone were taken by another meanwhile, or are another's that runs.",
        "devices-taken": "Devices that were chosen for a VM were given to another meanwhile, again and again.",
        "state-changed": "The VM changed its state, or somebody else its definition, meanwhile.",
        "migration-under-way": "The VM is being migrated, or an earlier migration of it is unfinished.",
    }


class HostUnreachable(KvmctlError):
    exit_code = 7
    codes: ClassVar[dict[str, str]] = {
        "host-unreachable": "The host does not answer, or the connection to it was lost.",
        "not-authorised": "The host answers and does not let us in.",
        "migration-unsettled": "A host does not answer or obey, so a migration could not be brought to its end.",
        "link-lost": "A migration was given up since nothing reached the other host; the VM runs where it was.",
    }


class TimedOut(KvmctlError):
    exit_code = 8
    codes: ClassVar[dict[str, str]] = {
        "timed-out": "What was waited for did not come within the time limit.",
        "device-held": "A guest has not let go of a device within the time limit.",
        "deadline-missed": "A migration was given up at its deadline; the VM runs where it was.",
        "host-busy": "Another command uses the embedded host and did not finish within the time limit.",
    }


class PartialFailure(KvmctlError):
    """Some of several failed; each failure has been told already."""

    exit_code = 9
    codes: ClassVar[dict[str, str]] = {"partial-failure": "Some of several failed."}


class Interrupted(KvmctlError):
    exit_code = 130
    tells_all = True
    codes: ClassVar[dict[str, str]] = {"interrupted": "Interrupted from the keyboard, and undone."}


def all_classes() -> list[type[KvmctlError]]:
    """The tree, root first."""
    return [KvmctlError, *KvmctlError.__subclasses__()]
