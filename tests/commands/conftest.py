"""VMs of libvirt's test driver, which lives in this process: an open connection keeps them between commands."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from tests.commands.plugs import CONFIG, LIVE, NoPort, Plugs

HOST = "test:///default"
XML = "<domain type='test'><name>{name}</name><memory>1024</memory><os><type>hvm</type></os>{more}</domain>"


class Vms:
    """`define` and `start` some; those named are gone after the test."""

    def __init__(self) -> None:
        libvirt.registerErrorHandler(lambda context, error: None, None)
        self.conn = libvirt.open(HOST)
        self._own = self.conn.lookupByName("test").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)

    def define(self, *names: str, running: bool = False, more: str = "") -> libvirt.virDomain:
        """Stopped VMs, or running ones; the last of them."""
        for name in names:
            domain = self.conn.defineXML(XML.format(name=name, more=more))
            if running:
                domain.create()
        return domain

    def transient(self, name: str) -> libvirt.virDomain:
        """A running VM without a definition."""
        return self.conn.createXML(XML.format(name=name, more=""))

    def state(self, name: str) -> int:
        state: int = self.conn.lookupByName(name).state()[0]
        return state

    def close(self) -> None:
        for domain in self.conn.listAllDomains():
            if domain.name() == "test":  # the driver's own, which is as it was before
                if domain.isActive():
                    domain.destroy()
                self.conn.defineXML(self._own).create()
                continue
            persistent = domain.isPersistent()
            if domain.isActive():
                domain.destroy()
            if persistent:
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        self.conn.close()


@pytest.fixture(autouse=True)
def alone() -> None:
    """No test meets the VMs of one before: an error keeps its connection, and so the driver's VMs, until collected."""
    gc.collect()


@pytest.fixture
def vms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    monkeypatch.setenv("KVMCTL_HOST", HOST)
    made = Vms()
    yield made
    made.close()


@pytest.fixture
def plugs(monkeypatch: pytest.MonkeyPatch) -> Plugs:
    made = Plugs()
    described = libvirt.virDomain.XMLDesc

    def key(vm: Any, flag: int) -> tuple[str, int]:
        return vm.UUIDString(), flag

    def attach(vm: Any, text: str, flag: int) -> None:
        made.calls += 1
        if made.calls == made.fails:
            raise NoPort("attachDeviceFlags() failed")
        made.held.setdefault(key(vm, flag), []).append(text)

    def detach(vm: Any, text: str, flag: int) -> None:
        made.held[key(vm, flag)].remove(text)

    def describe(vm: Any, flags: int = 0) -> str:
        document = ElementTree.fromstring(described(vm, flags))
        devices = document.find("devices")
        assert devices is not None
        running = vm.ID() >= 0 and not flags & libvirt.VIR_DOMAIN_XML_INACTIVE
        devices.extend(map(ElementTree.fromstring, made.held.get(key(vm, LIVE if running else CONFIG), [])))
        return ElementTree.tostring(document, encoding="unicode")

    for name, function in (("attachDeviceFlags", attach), ("detachDeviceFlags", detach), ("XMLDesc", describe)):
        monkeypatch.setattr(libvirt.virDomain, name, function)
    return made
