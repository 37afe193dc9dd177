"""Changes a definition where libvirt has no finer call: read, edit in place, define again.

Only what the edit changes is changed; a definition that somebody else changes at the same moment is read anew. libvirt
keeps whatever belongs to a VM and is no part of its definition: snapshots, saved state, autostart. A VM that has no
definition is refused, since it would get one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvmctl.errors import Conflict, Refused
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.spec.xmltext import canonical, parse, render

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

READ = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
"""The definition for the next boot, with its secrets: what is left out would be lost."""

ATTEMPTS = 3


def redefine(domain: libvirt.virDomain, edit: Callable[[Element], None]) -> bool:
    """Apply an edit to the definition. False if that changes nothing, and then nothing is defined."""
    name = domain.name()
    with translated(vm=name, doing="change its definition"):
        if not domain.isPersistent():
            raise Refused("not-supported", "has no definition on the host that could be changed", vm=name)
        for _ in range(ATTEMPTS):
            before = domain.XMLDesc(READ)
            document = parse(before)
            edit(document)
            if canonical(document) == canonical(parse(before)):
                return False
            if domain.XMLDesc(READ) == before:
                domain.connect().defineXML(render(document))
                return True
    raise Conflict(
        "state-changed", "its definition is being changed by somebody else", hint="try again in a moment", vm=name
    )
