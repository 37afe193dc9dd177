"""The VM that is moved: its definition, and what libvirt says of it while it moves."""

from __future__ import annotations

from typing import Any

import libvirt

UUID = "6b766d63-746c-4000-8000-0000000000fa"
XML = """\
<domain type='qemu'>
  <name>vm</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{image}'/><target dev='hda' bus='ide'/>{shareable}
    </disk>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def moving(domain: libvirt.virDomain, *, what: str = "memory") -> bool:
    """Whether some of its memory has gone, or of its disks."""
    stats: dict[str, Any] = domain.jobStats()
    return bool(stats.get("type")) and stats.get(f"{what}_processed", 0) >= 1 << 20


def leaves_postcopy(domain: libvirt.virDomain) -> bool:
    """At the source: held, and its memory follows."""
    return tuple(domain.state()) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)


def runs_postcopy(domain: libvirt.virDomain) -> bool:
    """At the target: let run, and not all of its memory is there."""
    return tuple(domain.state()) == (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY)
