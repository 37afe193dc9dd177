"""The `cpu:` group: how many vCPUs, of which model, in which topology, with which share of the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.declare import group, nested, pairs, scalar, through
from kvmctl.spec.kinds import CPUS, PERCENT, WORD, CpuSet, choice, integer
from kvmctl.spec.lenses import prune, require

COUNT = integer(1, 4096)
MODES = ("host-model", "host-passthrough", "maximum")
MODEL = choice(*MODES, "default", more=WORD)
POLICY = choice("force", "require", "optional", "disable", "forbid")
PERIOD = 100_000
"""Microseconds over which a quota is counted, unless the document has a period of its own."""


class _Count:
    """<vcpu current='4'>8</vcpu>: 4 at boot, 8 at most; without `current` both are the same."""

    def get(self, element: Element) -> int | None:
        node = element.find("vcpu")
        try:
            return None if node is None else int(node.get("current") or node.text or "")
        except ValueError:
            return None

    def put(self, element: Element, value: int | None) -> None:
        node = element.find("vcpu")
        if value is None:
            if node is not None:
                element.remove(node)
            return
        if node is None:
            node = SubElement(element, "vcpu", placement="static")
        if node.get("current"):
            node.set("current", str(value))
        else:
            node.text = str(value)


class _Most:
    """The larger number of <vcpu current='4'>8</vcpu>; None where the two are not told apart."""

    def get(self, element: Element) -> int | None:
        node = element.find("vcpu[@current]")
        try:
            return None if node is None else int(node.text or "")
        except ValueError:
            return None

    def put(self, element: Element, value: int | None) -> None:
        node = require(element, ("vcpu",))
        if value is None:
            node.text = node.attrib.pop("current", node.text)
            prune(element, ("vcpu",))
            return
        node.set("current", node.get("current") or node.text or str(value))
        node.text = str(value)


class _Model:
    """A mode is written as such; a name is <cpu mode='custom' match='exact'><model>NAME</model></cpu>."""

    def get(self, element: Element) -> str | None:
        node = element.find("cpu")
        if node is None:
            return None
        if node.get("mode", "custom") != "custom":
            return node.get("mode") if node.get("mode") in MODES else None
        return node.findtext("model") or None

    def put(self, element: Element, value: str | None) -> None:
        node = require(element, ("cpu",))
        for old in node.findall("model"):
            node.remove(old)
        for name in ("mode", "match", "check"):
            node.attrib.pop(name, None)
        if value in MODES:
            node.set("mode", str(value))
        elif value is not None:
            node.attrib.update(mode="custom", match="exact")
            require(node, ("model",)).text = value
        prune(element, ("cpu",))


class _Quota:
    """<global_quota> in microseconds per <global_period>: all vCPUs together, in percent of one host CPU."""

    def get(self, element: Element) -> int | None:
        try:
            quota = int(element.findtext("cputune/global_quota", ""))
            percent, left = divmod(quota * 100, int(element.findtext("cputune/global_period", "")))
        except (ValueError, ZeroDivisionError):
            return None
        return percent if percent > 0 and not left else None

    def put(self, element: Element, value: int | None) -> None:
        tune = require(element, ("cputune",))
        for name in ("global_period", "global_quota"):
            for old in tune.findall(name):
                tune.remove(old)
        if value is not None:
            require(tune, ("global_period",)).text = str(PERIOD)
            require(tune, ("global_quota",)).text = str(PERIOD * value // 100)
        prune(element, ("cputune",))


@group
class Topology:
    """What the guest sees: sockets, dies, cores and threads multiplied give the vCPUs (max, if it can grow)."""

    sockets: int | None = scalar("@sockets", COUNT, "Sockets.")
    dies: int | None = scalar("@dies", COUNT, "Dies in a socket.")
    cores: int | None = scalar("@cores", COUNT, "Cores in a die.")
    threads: int | None = scalar("@threads", COUNT, "Threads of a core.")

    def product(self) -> int:
        """How many vCPUs the topology has room for."""
        return (self.sockets or 1) * (self.dies or 1) * (self.cores or 1) * (self.threads or 1)

    def check(self) -> Iterator[tuple[str, str, str]]:
        for name in ("sockets", "cores", "threads"):
            if getattr(self, name) is None:
                yield "", f"{name} is missing", "give sockets, cores and threads"
                return


@group
class Cpu:
    """vCPUs."""

    SHORTHAND: ClassVar = "count"

    count: int | None = through(_Count(), COUNT, "vCPUs at boot.", example="4")
    max: int | None = through(_Most(), COUNT, "vCPUs that the VM can grow to while it runs; without it, count.")
    model: str | None = through(
        _Model(),
        MODEL,
        "CPU model the guest sees: host-model (like the host, and still migratable), host-passthrough, maximum, or a "
        "name that libvirt knows. Left out, it is host-model under KVM and maximum under emulation; default leaves it "
        "to QEMU.",
    )
    features: Mapping[str, str] | None = pairs(
        "cpu/feature",
        "name",
        WORD,
        "policy",
        POLICY,
        "CPU features by name, each force, require, optional, disable or forbid.",
    )
    topology: Topology | None = nested("cpu/topology", Topology, "Sockets, cores and threads that the guest sees.")
    shares: int | None = scalar("cputune/shares", integer(2, 262144), "Weight against other VMs when the host is busy.")
    quota: int | None = through(_Quota(), PERCENT, "Most that all vCPUs together may use, in percent of one host CPU.")
    pin: Mapping[int, CpuSet] | None = pairs(
        "cputune/vcpupin",
        "vcpu",
        integer(0, 4095),
        "cpuset",
        CPUS,
        "Host CPUs that each vCPU may run on, by vCPU number.",
    )
    emulator_pin: CpuSet | None = scalar(
        "cputune/emulatorpin/@cpuset", CPUS, "Host CPUs that QEMU's own threads may run on."
    )

    def check(self) -> Iterator[tuple[str, str, str]]:
        most = self.max or self.count or 1
        if self.max and not self.count:
            yield "max", "max is given without count", "write count: too, the vCPUs at boot"
        if self.count and self.max and self.count > self.max:
            yield (
                "max",
                f"max is {self.max}, less than count, which is {self.count}",
                f"write max: {self.count} or more",
            )
        room = self.topology.product() if self.topology else most
        if room != most:
            yield (
                "topology",
                f"the topology has room for {room} vCPUs, but there are {most}",
                f"make count {room}, or the product {most}",
            )
        for vcpu in self.pin or ():
            if vcpu >= most:
                yield f"pin.{vcpu}", f"there is no vCPU {vcpu}; the highest is {most - 1}", "vCPUs count from 0"
        if self.quota and (self.quota * PERIOD // 100) < 1000:
            yield "quota", "the quota is too small for libvirt", "write 1% or more"
