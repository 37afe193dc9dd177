"""What libvirt says when a guest has no port left, told in our words.

The domain is a stand-in: how many ports a real one has to spare is libvirt's choice, and changes with it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import libvirt
import pytest

from kvmctl.errors import Refused
from kvmctl.host.pci import attaching
from kvmctl.host.undoing import Undo
from kvmctl.spec.xmltext import parse, render

UUID = "c2177883-f1bb-47f0-914d-32a22e3a8804"
FULL = "internal error: No more available PCI slots"


class Problem(libvirt.libvirtError):  # type: ignore[misc]
    def get_error_message(self) -> str:
        return FULL


def test_what_an_mdev_is_given_and_known_by() -> None:
    device = attaching._element(UUID, mac=None, vlan=None, card=False)
    assert (device.get("type"), device.get("model"), device.get("managed")) == ("mdev", "vfio-pci", None)
    domain = parse(f"<domain><devices>{render(device)}</devices></domain>")
    assert attaching.device_of(domain, UUID) is domain.find("devices/hostdev")
    assert attaching.device_of(domain, "0000:3b:00.0") is None


def test_no_port_left() -> None:
    given: list[int] = []

    def attach(text: str, flag: int) -> None:
        given.append(flag)
        raise Problem("attachDeviceFlags() failed")

    found: Any = SimpleNamespace(
        domain=SimpleNamespace(attachDeviceFlags=attach), name="web1", running=parse("<domain/>"), definition=None
    )
    device = attaching._element("0000:3b:00.0", mac=None, vlan=None, card=False)
    with pytest.raises(Refused) as caught, Undo("web1") as undo:
        attaching._attach_one(cast("Any", found), device, "0000:3b:00.0", undo)
    assert (caught.value.code, given) == ("no-free-port", [libvirt.VIR_DOMAIN_AFFECT_LIVE])
    assert "--next-boot" in caught.value.hint
