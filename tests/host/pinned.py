"""A VM that is a pair of documents, live and for the next boot, and takes libvirt's calls for pins as libvirt does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import libvirt

from kvmctl.host.connection import Host
from kvmctl.host.targets import Target
from kvmctl.plan.placement.pins import Pins, write_pins
from kvmctl.spec.metadata import NAMESPACE, VM, bare
from kvmctl.spec.xmltext import parse, render
from tests.host.test_topology import refusal

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
MODES = ("strict", "preferred", "interleave", "restrictive")
XML = """
<domain type='kvm'><name>web1</name><uuid>0</uuid><memory unit='MiB'>256</memory><vcpu current='2'>4</vcpu>
<iothreads>1</iothreads>{more}<devices/></domain>
"""
CPUS = 8
NODES = "<capabilities><host><topology><cells><cell id='0'/><cell id='1'/></cells></topology></host></capabilities>"


def numbers(mask: tuple[bool, ...]) -> frozenset[int]:
    return frozenset(number for number, there in enumerate(mask) if there)


class Domain:
    """`refuse` maps a call, or (call, flag), to the error that it raises; `calls` is what was asked for, in order."""

    def __init__(self, more: str = "", *, running: bool = True, persistent: bool = True) -> None:
        self.documents = {LIVE: parse(XML.format(more=more)), CONFIG: parse(XML.format(more=more))}
        self.running = running
        self.persistent = persistent
        self.refuse: dict[Any, Exception | Callable[[], object]] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.conn = self

    # -- looking ------------------------------------------------------------------------------------

    def name(self) -> str:
        return "web1"

    def UUIDString(self) -> str:  # noqa: N802 - this and others have libvirt's names
        return "0"

    def isActive(self) -> bool:  # noqa: N802
        return self.running

    def isPersistent(self) -> bool:  # noqa: N802
        return self.persistent

    def XMLDesc(self, flags: int) -> str:  # noqa: N802
        inactive = flags & libvirt.VIR_DOMAIN_XML_INACTIVE or not self.running
        if inactive:
            self._call("XMLDesc", CONFIG)
        return render(self.documents[CONFIG if inactive else LIVE])

    @property
    def live(self) -> Element:
        return self.documents[LIVE]

    @property
    def config(self) -> Element:
        return self.documents[CONFIG]

    # -- the connection -----------------------------------------------------------------------------

    def connect(self) -> Domain:
        return self

    def getCPUMap(self) -> tuple[int, list[bool], int]:  # noqa: N802
        return CPUS, [True] * CPUS, CPUS

    def getCapabilities(self) -> str:  # noqa: N802
        return NODES

    def defineXML(self, text: str) -> None:  # noqa: N802
        self._call("defineXML", CONFIG)
        self.documents[CONFIG] = parse(text)

    # -- changing -----------------------------------------------------------------------------------

    def pinVcpuFlags(self, number: int, mask: tuple[bool, ...], flag: int) -> None:  # noqa: N802
        self._call("pinVcpuFlags", flag, number, numbers(mask))
        write_pins(self.documents[flag], Pins(vcpus={number: numbers(mask)}))

    def pinEmulator(self, mask: tuple[bool, ...], flag: int) -> None:  # noqa: N802
        self._call("pinEmulator", flag, numbers(mask))
        write_pins(self.documents[flag], Pins(emulator=numbers(mask)))

    def pinIOThread(self, number: int, mask: tuple[bool, ...], flag: int) -> None:  # noqa: N802
        self._call("pinIOThread", flag, number, numbers(mask))
        write_pins(self.documents[flag], Pins(iothreads={number: numbers(mask)}))

    def setNumaParameters(self, values: dict[str, Any], flag: int) -> None:  # noqa: N802
        self._call("setNumaParameters", flag, values)
        low, _, high = values["numa_nodeset"].partition("-")
        nodes = frozenset(range(int(low), int(high or low) + 1))
        mode = MODES[values["numa_mode"]] if "numa_mode" in values else None
        write_pins(self.documents[flag], Pins(nodes=nodes, mode=mode))

    def setSchedulerParametersFlags(self, values: dict[str, int], flag: int) -> None:  # noqa: N802
        self._call("setSchedulerParametersFlags", flag, values)

    def metadata(self, kind: int, uri: str, flag: int) -> str:
        found = self.documents[flag].find(f"metadata/{VM}")
        if found is None:
            raise refusal(libvirt.VIR_ERR_NO_DOMAIN_METADATA)
        return bare(found)  # libvirt gives it without its namespace

    def setMetadata(self, kind: int, text: str | None, prefix: str, uri: str, flag: int) -> None:  # noqa: N802
        self._call("setMetadata", flag, text)
        document = self.documents[flag]
        parent = document.find("metadata")
        parent = SubElement(document, "metadata") if parent is None else parent
        for old in parent.findall(VM):
            parent.remove(old)
        if text:
            parent.append(parse(text.replace("<vm", f'<vm xmlns="{NAMESPACE}"', 1)))

    def _call(self, name: str, flag: int, *arguments: Any) -> None:
        self.calls.append((name, flag, *arguments))
        for key in ((name, flag), name):
            answer = self.refuse.get(key)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                answer()


def host(domain: Domain, uri: str = "qemu+ssh://root@host2/system") -> Host:
    """The host that it is on; another machine, so that nothing is looked for in this one's /proc."""
    return Host(Target("host2", uri), domain, events=False)
