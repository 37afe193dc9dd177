"""What the CPU of a host can do: from its kernel where it is this machine, else from what libvirt says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.targets import Target


def is_local(target: Target) -> bool:
    """True if the host is this machine: its URI names no other."""
    return target.uri.partition("://")[2].startswith("/")


def local_flags(system: Path = Path("/")) -> frozenset[str]:
    """The CPU's flags as this kernel sees them; none where they cannot be read."""
    try:
        text = (system / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.startswith(("flags", "features")))
    return frozenset(next((line.partition(":")[2].split() for line in lines), []))


def remote_flags(host: Host, capabilities: Element) -> frozenset[str]:
    """The flags of the host's CPU as libvirt knows them: the named model, with all it stands for."""
    cpu = capabilities.find("host/cpu")
    if cpu is None or cpu.find("model") is None:
        return frozenset()
    try:
        text = host.conn.baselineCPU(
            [ElementTree.tostring(cpu, encoding="unicode")], libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
        )
    except libvirt.libvirtError:
        return frozenset()
    return frozenset(feature.get("name", "") for feature in ElementTree.fromstring(text).findall("feature"))
