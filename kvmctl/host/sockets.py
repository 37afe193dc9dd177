"""Where the sockets of an embedded host's VMs are: short enough, whatever the directory and the VM are called."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING
from xml.etree.ElementTree import SubElement

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def shorten_sockets(domain: Element, root: str) -> None:
    """Name the sockets of channels: libvirt would put them so deep that the paths of long names do not fit."""
    name = sha256((domain.findtext("name") or "").encode()).hexdigest()[:8]
    for number, channel in enumerate(domain.findall("devices/channel[@type='unix']")):
        if channel.find("source") is None:
            directory = os.path.join(root, "channel")
            os.makedirs(directory, mode=0o700, exist_ok=True)
            SubElement(channel, "source", mode="bind", path=os.path.join(directory, f"{name}.{number}"))
