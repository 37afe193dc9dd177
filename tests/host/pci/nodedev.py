"""A stand-in for libvirt's node device driver with mdevs, in front of libvirt's test driver, which has none.

There is no real thing to test with: no lab has such hardware, the kernel's sample of it, mtty, is in no Debian kernel,
and libvirt's test driver knows neither definitions nor states of node devices. What this one does and says is what
libvirt 9.0 was seen to do with mdevctl 1.2, its XML is of the form that libvirt documents for node devices.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

GPU, FAR = "0000:06:00.0", "0000:86:00.0"
KIND = "nvidia-35"
PCI = """
<device><name>{name}</name><parent>computer</parent><driver><name>nvidia</name></driver>
  <capability type='pci'><class>0x030200</class><domain>0</domain><bus>{bus}</bus><slot>0</slot><function>0</function>
    <product id='0x1eb8'>TU104GL [Tesla T4]</product><vendor id='0x10de'>NVIDIA</vendor>
    <capability type='mdev_types'>
      <type id='nvidia-35'><name>GRID T4-1B</name><deviceAPI>vfio-pci</deviceAPI>
        <availableInstances>{free}</availableInstances></type>
      <type id='nvidia-36'><name>GRID T4-2B</name><deviceAPI>vfio-pci</deviceAPI>
        <availableInstances>0</availableInstances></type>
    </capability>
    <iommuGroup number='{bus}'><address domain='0x0000' bus='{bus:#x}' slot='0x00' function='0x0'/></iommuGroup>
    <numa node='{node}'/>
  </capability>
</device>"""
MDEV = """
<device><name>{name}</name><path>/sys/devices/x/{uuid}</path><parent>{parent}</parent>
  <driver><name>vfio_mdev</name></driver>
  <capability type='mdev'><type id='{kind}'/><uuid>{uuid}</uuid><parent_addr>{address}</parent_addr>
    <iommuGroup number='12'/></capability>
</device>"""


def error(code: int, text: str) -> libvirt.libvirtError:
    problem = libvirt.libvirtError(text)
    problem.err = (code, libvirt.VIR_FROM_NODEDEV, text, 2, None, None, None, 0, 0)
    return problem


class Card:
    """A device that can be cut into mdevs, of one type at a time, as this one says how many."""

    def __init__(self, daemon: Daemon, address: str, node: int, most: int) -> None:
        self.daemon, self.address, self.node, self.most = daemon, address, node, most

    def name(self) -> str:
        return f"pci_{self.address.replace(':', '_').replace('.', '_')}"

    @property
    def free(self) -> int:
        return self.most - sum(mdev.active and mdev.card is self for mdev in self.daemon.mdevs)

    def XMLDesc(self, flags: int) -> str:  # noqa: N802 - libvirt's names, here and below
        bus = int(self.address.split(":")[1], 16)
        return PCI.format(name=self.name(), bus=bus, free=self.free, node=self.node)


class Part:
    """An mdev."""

    def __init__(self, card: Card, uuid: str, kind: str) -> None:
        self.card, self.uuid, self.kind = card, uuid, kind
        self.active = self.defined = self.auto = False

    def name(self) -> str:
        return re.sub("[-:.]", "_", f"mdev_{self.uuid}_{self.card.address}")

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        card = self.card
        names = {"name": self.name(), "uuid": self.uuid, "kind": self.kind}
        return MDEV.format(parent=card.name(), address=card.address, **names)

    def isActive(self) -> int:  # noqa: N802
        return int(self.active)

    def isPersistent(self) -> int:  # noqa: N802
        return int(self.defined)

    def autostart(self) -> int:
        return int(self.auto)

    def setAutostart(self, value: int) -> None:  # noqa: N802
        self.card.daemon.tell("setAutostart")
        assert self.defined
        self.auto = bool(value)

    def create(self, flags: int = 0) -> None:
        self.card.daemon.tell("create")
        assert not self.active
        if self.card.free < 1:
            text = "internal error: Unable to create mediated device: No space left for instances"
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, text)
        self.active = True

    def destroy(self) -> None:
        self.card.daemon.tell("destroy")
        if not self.active:
            text = f"Requested operation is not valid: Device '{self.name()}' is not active"
            raise error(libvirt.VIR_ERR_OPERATION_INVALID, text)
        self.card.daemon.later(self, active=False)

    def undefine(self, flags: int = 0) -> None:
        self.card.daemon.tell("undefine")
        assert self.defined
        self.card.daemon.later(self, defined=False, auto=False)


class Daemon:
    """Its devices; `told` are the calls that changed something, and `before` is asked before each of them.

    What has gone is shown once more, since libvirt learns of it afterwards.
    """

    def __init__(self) -> None:
        self.cards = [Card(self, GPU, 0, 2), Card(self, FAR, 1, 1)]
        self.mdevs: list[Part] = []
        self.told: list[str] = []
        self.listings = 0
        self.going: list[tuple[int, Part, dict[str, bool]]] = []
        self.before: Callable[[str], None] = lambda call: None

    def tell(self, call: str) -> None:
        self.before(call)
        self.told.append(call)

    def later(self, mdev: Part, **states: bool) -> None:
        self.going.append((self.listings + 2, mdev, states))

    def _go(self) -> None:
        for due, mdev, states in [*self.going]:
            if due <= self.listings:
                self.going.remove((due, mdev, states))
                vars(mdev).update(states)
                if mdev in self.mdevs and not (mdev.active or mdev.defined):
                    self.mdevs.remove(mdev)

    def put(self, uuid: str, *, card: int = 0, kind: str = KIND, active: bool = True, defined: bool = True) -> Part:
        """An mdev that is there already."""
        mdev = Part(self.cards[card], uuid, kind)
        mdev.active, mdev.defined = active, defined
        self.mdevs.append(mdev)
        return mdev

    def listed(self, flags: int) -> list[Any]:
        self.listings += 1
        self._go()
        cards = self.cards if flags & libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV else []
        return [*cards, *(self.mdevs if flags & libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV else ())]

    def create_xml(self, text: str) -> Part:
        self.tell("nodeDeviceCreateXML")
        mdev = self._made(text)
        mdev.active = True
        return mdev

    def define_xml(self, text: str) -> Part:
        self.tell("nodeDeviceDefineXML")
        mdev = self._made(text)
        mdev.defined = True
        return mdev

    def _made(self, text: str) -> Part:
        device = ElementTree.fromstring(text)
        kind = device.find("capability[@type='mdev']/type")
        assert kind is not None
        card = next(card for card in self.cards if card.name() == device.findtext("parent"))
        uuid = device.findtext("capability/uuid") or ""
        known = next((mdev for mdev in self.mdevs if mdev.uuid == uuid), None)
        if known is not None and known.defined:
            text = f"internal error: Unable to define mediated device: Cowardly refusing to overwrite config for {uuid}"
            raise error(libvirt.VIR_ERR_INTERNAL_ERROR, text)
        return known or self.put(
            uuid, card=self.cards.index(card), kind=kind.get("id", ""), active=False, defined=False
        )


def install(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Behind every connection from now on."""
    made = Daemon()
    monkeypatch.setattr(libvirt.virConnect, "listAllDevices", lambda conn, flags=0: made.listed(flags))
    monkeypatch.setattr(libvirt.virConnect, "nodeDeviceCreateXML", lambda conn, text, flags=0: made.create_xml(text))
    monkeypatch.setattr(libvirt.virConnect, "nodeDeviceDefineXML", lambda conn, text, flags=0: made.define_xml(text))
    return made
