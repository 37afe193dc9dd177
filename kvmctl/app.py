"""What a command is given: its settings, the gate for output, and hosts that connect when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from kvmctl.errors import UsageError
from kvmctl.output import Output

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.targets import Target
    from kvmctl.host.watch import Watch


class Settings:
    """The options shared by all commands, as given before or after the command."""

    def __init__(self) -> None:
        self.hosts: tuple[str, ...] = ()
        self.output = "table"
        self.quiet = False
        self.verbose = False
        self.debug = False
        self.timeout: float | None = None

    def preview(self, arguments: list[str]) -> None:
        """Look for the output format before parsing, so that a wrong command line is told in that format too."""
        for first, second in zip(arguments, [*arguments[1:], ""]):
            if first == "--":
                return
            given = second if first in ("-o", "--output") else first.removeprefix("--output=").removeprefix("-o")
            if given in ("json", "yaml") and first.startswith(("-o", "--output")):
                self.output = given
            self.debug = self.debug or first == "--debug"


class App:
    """The context object of every command."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.abandoned = False
        """True when a libvirt call never returned and its thread was left behind."""

    @cached_property
    def output(self) -> Output:
        return Output(self.settings)

    def targets(self, *, every: bool = False) -> list[Target]:
        """The hosts asked for: one, several (-H a -H b), or with `every` all that are configured."""
        from kvmctl.host.targets import select

        return select(self.settings.hosts, every=every)

    def target(self) -> Target:
        """The one host asked for."""
        found = self.targets()
        if len(found) != 1:
            raise UsageError("usage", "this command works on one host; -H was given several times")
        return found[0]

    @contextmanager
    def host(self, *, events: bool = False, readonly: bool = False) -> Iterator[Host]:
        """Connect to the host asked for, and leave it at the end."""
        from kvmctl.host.connection import connect

        target = self.target()
        self.warn_of(target)
        with connect(target, timeout=self.settings.timeout, events=events, readonly=readonly) as host:
            yield host

    @contextmanager
    def watch(self, *, timeout: float | None = None) -> Iterator[Watch]:
        """Watch the VMs of the host asked for, for as long as it takes. `timeout` is for reaching the host.

        It is not --timeout for verbs that give that to each guest: a busy host must not use it up.
        """
        from kvmctl.host.watch import watching

        target = self.target()
        self.warn_of(target)
        with watching(target, timeout=timeout) as watch:
            yield watch

    def warn_of(self, target: Target) -> None:
        """Say what a person must know before speaking to a host; with -v, also which one it is."""
        self.output.detail(f"host: {target.name} ({target.uri})")
        if not self.settings.quiet:
            for warning in target.warnings:
                self.output.warn(warning)
