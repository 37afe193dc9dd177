"""Many VMs that are only defined: what a list has to list."""

from __future__ import annotations

import libvirt

PREFIX = "bench-"

XML = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
</domain>
"""


def define(uri: str, count: int) -> None:
    """Make sure that VMs bench-0000 to bench-(count - 1) are defined."""
    connection = libvirt.open(uri)
    there = {domain.name() for domain in connection.listAllDomains()}
    for number in range(count):
        name = f"{PREFIX}{number:04}"
        if name not in there:
            connection.defineXML(XML.format(name=name))
    connection.close()


def remove(uri: str) -> None:
    """Undefine them all."""
    connection = libvirt.open(uri)
    for domain in connection.listAllDomains():
        if domain.name().startswith(PREFIX):
            domain.undefine()
    connection.close()
