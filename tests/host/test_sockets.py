"""Sockets of the embedded host's VMs fit into the 107 bytes that Linux has for their paths."""

from __future__ import annotations

from pathlib import Path

from kvmctl.host.embedded import LONGEST_ROOT
from kvmctl.host.sockets import shorten_sockets
from kvmctl.spec.xmltext import parse

CHANNELS = """<domain><name>{}</name><devices><channel type='unix'><target name='org.qemu.guest_agent.0'/></channel>
<channel type='unix'><source mode='bind' path='/mine'/></channel><channel type='spicevmc'/></devices></domain>"""


def paths(name: str, root: Path) -> list[str | None]:
    domain = parse(CHANNELS.format(name))
    shorten_sockets(domain, str(root))
    return [node.get("path") for node in domain.iterfind("devices/channel/source")]


def test_they_are_short_and_each_vm_has_its_own(tmp_path: Path) -> None:
    one, mine = paths("x" * 200, tmp_path)
    assert one is not None
    assert mine == "/mine"
    assert len(one) - len(str(tmp_path)) + LONGEST_ROOT <= 107
    assert Path(one).parent.is_dir()
    assert paths("y" * 200, tmp_path)[0] != one
    assert paths("x" * 200, tmp_path)[0] == one
