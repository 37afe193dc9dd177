"""A VM with those of its two configurations that are to be changed: what it runs with, and what its next boot brings.

Both where it has both, unless one is asked for. Changes nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmctl.errors import Refused
from kvmctl.host.connection import translated
from kvmctl.host.domains import find, state_of
from kvmctl.host.redefining import READ
from kvmctl.host.states import OFF
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host


class Configurations:
    """A VM, and which of its configurations are to be changed: that of the running one, the definition, or both."""

    def __init__(self, host: Host, name: str, *, now: bool, next_boot: bool) -> None:
        self.domain = find(host, name)
        self.name: str = self.domain.name()
        with translated(vm=self.name, doing="look at it", host=host.name):
            self.state = state_of(self.domain)
            running = self.state not in OFF and self.domain.ID() >= 0
            persistent = bool(self.domain.isPersistent())
            self._refuse(running if now else True, persistent if next_boot else True)
            self.running = parse(self.domain.XMLDesc(0)) if running and not next_boot else None
            self.definition = parse(self.domain.XMLDesc(READ)) if persistent and not now else None

    def _refuse(self, running: bool, persistent: bool) -> None:
        if not running:
            hint = "without --now the next boot is changed"
            raise Refused("vm-not-running", "is not running", hint=hint, vm=self.name)
        if not persistent:
            hint = "without --next-boot the running VM is changed"
            raise Refused("not-supported", "has no definition that a next boot could use", hint=hint, vm=self.name)

    @property
    def both(self) -> dict[str, bool]:
        """What `live` and `config` are, for those who change something."""
        return {"live": self.running is not None, "config": self.definition is not None}

    @property
    def documents(self) -> list[Element]:
        """The configurations to be changed, the definition first."""
        return [document for document in (self.definition, self.running) if document is not None]
