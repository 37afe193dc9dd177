"""What the CPU of a host can do, as libvirt knows it. For this machine `machine` asks the kernel, which knows more."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host


def remote_flags(host: Host, capabilities: Element) -> frozenset[str]:
    """The flags of the host's CPU: the model that libvirt names, with all it stands for."""
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
