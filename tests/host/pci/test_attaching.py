"""What libvirt says when a guest has no port left, told in our words.

The domain is a stand-in: how many ports a real one has to spare is libvirt's choice, and changes with it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import libvirt
import pytest

from kvmctl.errors import Refused
from kvmctl.host.hostdevs import give
from kvmctl.host.pci import attaching
from kvmctl.host.undoing import Undo
from kvmctl.spec.xmltext import parse, render

UUID = "c2177883-f1bb-47f0-914d-32a22e3a8804"
FULL = {
    "pcie-root-port": "internal error: No more available PCI slots",
    "qemu-xhci": "internal error: No free USB ports",
}


class Problem(libvirt.libvirtError):  # type: ignore[misc]
    told = ""

    def get_error_message(self) -> str:
        return self.told


def test_what_an_mdev_is_given_and_known_by() -> None:
    device = attaching._element(UUID, mac=None, vlan=None, card=False)
    assert (device.get("type"), device.get("model"), device.get("managed")) == ("mdev", "vfio-pci", None)
    domain = parse(f"<domain><devices>{render(device)}</devices></domain>")
    assert attaching.device_of(domain, UUID) is domain.find("devices/hostdev")
    assert attaching.device_of(domain, "0000:3b:00.0") is None


@pytest.mark.parametrize("controller", FULL)
def test_no_port_left(controller: str) -> None:
    given: list[int] = []

    def attach(text: str, flag: int) -> None:
        given.append(flag)
        problem = Problem("attachDeviceFlags() failed")
        problem.told = FULL[controller]
        raise problem

    found: Any = SimpleNamespace(
        domain=SimpleNamespace(attachDeviceFlags=attach), name="web1", running=parse("<domain/>"), definition=None
    )
    device = attaching._element("0000:3b:00.0", mac=None, vlan=None, card=False)
    with pytest.raises(Refused) as caught, Undo("web1") as undo:
        give(cast("Any", found), device, "0000:3b:00.0", lambda document: None, undo)
    assert (caught.value.code, given) == ("no-free-port", [libvirt.VIR_DOMAIN_AFFECT_LIVE])
    assert "--next-boot" in caught.value.hint
    assert controller in caught.value.hint
