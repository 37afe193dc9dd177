"""Hosts of libvirt's test driver with devices, and a stand-in for what that driver cannot do: give them to VMs."""

from __future__ import annotations

from xml.etree import ElementTree

import libvirt

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
SYSTEM = """<device><name>computer</name><capability type='system'><hardware><vendor>L</vendor><version>1</version>
<serial>1</serial><uuid>11111111-2222-3333-4444-555555555555</uuid></hardware><firmware><vendor>L</vendor>
<version>1</version><release_date>1</release_date></firmware></capability></device>"""


def domain(number: int, more: str = "") -> str:
    return (
        f"<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>web{number}</name>"
        f"<uuid>00000000-0000-0000-0000-00000000000{number}</uuid><memory>1024</memory><os><type>hvm</type></os>{more}"
        "</domain>"
    )


class Plugs:
    """What VMs were given, by UUID and configuration. `fails` says for which call in a row there is no port left."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], list[str]] = {}
        self.calls = 0
        self.fails = 0

    @staticmethod
    def key(number: int, flag: int) -> tuple[str, int]:
        return f"00000000-0000-0000-0000-00000000000{number}", flag

    def of(self, number: int, flag: int) -> list[dict[str, str]]:
        found = self.held.get(self.key(number, flag), [])
        return [
            {node.tag: node.get("id") or f"{node.get('bus')}:{node.get('device')}" for node in source}
            for source in (ElementTree.fromstring(text).find("source") for text in found)
            if source is not None
        ]


class NoPort(libvirt.libvirtError):  # type: ignore[misc]
    def get_error_message(self) -> str:
        return "internal error: No free USB ports"
