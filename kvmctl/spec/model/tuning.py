"""Where the threads of a VM run: the lens of `cpu.pin`, and the groups `cpu.scheduler` and `cpu.placement`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec import metadata
from kvmctl.spec.declare import group, read, scalar, through, write
from kvmctl.spec.groups import Pairs, Words
from kvmctl.spec.kinds import BOOLEAN, CPUS, VCPUS, CpuSet, Kind, boolean, choice, integer
from kvmctl.spec.lenses import prune, require

AUTO = "auto"
VCPU = integer(0, 4095)
THREAD = integer(1, 4096)
REALTIME = ("fifo", "rr")


class Pin:
    """<vcpupin> of each vCPU; or, without any, <vcpu cpuset='…'> for the whole VM.

    `auto` is decided elsewhere and leaves the document as it is. Where a document has both, the vCPUs' own are meant.
    """

    _each = Pairs("cputune/vcpupin", "vcpu", VCPU, "cpuset", CPUS)

    def get(self, element: Element) -> Mapping[int, CpuSet] | CpuSet | None:
        return self._each.get(element) or self._whole(element)

    @staticmethod
    def _whole(element: Element) -> CpuSet | None:
        node = element.find("vcpu[@cpuset]")
        try:
            # libvirt does not heed the set where it leaves the place to numad.
            known = node is not None and node.get("placement") != "auto"
            return CPUS.load(node.get("cpuset", "")) if node is not None and known else None
        except ValueError:
            return None

    def put(self, element: Element, value: Any) -> None:
        if value == AUTO:
            return
        mapping = value if isinstance(value, Mapping) else None
        if mapping is None or not self._each.get(element):  # else what is said of the whole VM is somebody else's
            self._put_whole(element, None if mapping is not None else value)
        self._each.put(element, mapping)

    @staticmethod
    def _put_whole(element: Element, value: CpuSet | None) -> None:
        node = require(element, ("vcpu",))
        node.attrib.pop("cpuset", None)
        if value is not None:
            node.attrib.update(placement="static", cpuset=CPUS.dump(value))
        prune(element, ("vcpu",))


@group
class Scheduler:
    """How the host's kernel schedules vCPUs: fifo and rr before everything else on the host, batch and idle after."""

    SHORTHAND: ClassVar = "policy"

    policy: str | None = scalar(
        "@scheduler", choice("batch", "idle", *REALTIME), "fifo and rr (real time), batch, or idle.", example="batch"
    )
    priority: int | None = scalar("@priority", integer(1, 99), "Priority of fifo or rr; the highest wins.")
    vcpus: CpuSet | None = scalar("@vcpus", VCPUS, "vCPUs it is for; left out, all that no other entry names.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not self.policy:
            yield "", "policy is missing", "write policy: batch"
        elif self.policy in REALTIME and self.priority is None:
            yield "", f"{self.policy} needs a priority", f"write {{policy: {self.policy}, priority: 10}}"
        elif self.policy not in REALTIME and self.priority is not None:
            yield "priority", f"{self.policy} has no priority; fifo and rr have", "leave priority out"


def merged(entries: Iterable[Scheduler]) -> tuple[Scheduler, ...]:
    """One entry for all vCPUs of the same policy and priority: libvirt tears them apart, or together, as it likes."""
    found: dict[tuple[str | None, int | None], CpuSet] = {}
    for entry in entries:
        key = entry.policy, entry.priority
        found[key] = found.get(key, frozenset()) | (entry.vcpus or frozenset())
    made = (Scheduler(policy=policy, priority=priority, vcpus=cpus) for (policy, priority), cpus in found.items())
    return tuple(sorted(made, key=lambda entry: sorted(entry.vcpus or ())))


class Schedulers:
    """<vcpusched vcpus='0-3' scheduler='fifo' priority='10'/>. What is not understood stays."""

    @staticmethod
    def _ours(element: Element) -> dict[int, Scheduler]:
        """The entries that are understood, by the place of their element."""
        found: dict[int, Scheduler] = {}
        for place, node in enumerate(element.findall("cputune/vcpusched")):
            entry: Scheduler = read(Scheduler, node)
            if entry.vcpus and not list(entry.check()):
                found[place] = entry
        return found

    def get(self, element: Element) -> tuple[Scheduler, ...]:
        return merged(self._ours(element).values())

    def put(self, element: Element, value: tuple[Scheduler, ...]) -> None:
        tune = require(element, ("cputune",))
        ours = self._ours(element)
        for place, node in enumerate(tune.findall("vcpusched")):
            if place in ours:
                tune.remove(node)
        for entry in value:
            write(entry, SubElement(tune, "vcpusched"))
        prune(element, ("cputune",))


_ADDRESS = r"([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]"
_INTERFACE = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}"


def _near(value: str) -> str:
    """`pci`, the name of a network interface, or the address of a PCI device, which is completed."""
    if found := re.fullmatch(_ADDRESS, value):
        return (value if found[1] else f"0000:{value}").lower()
    if not re.fullmatch(_INTERFACE, value):
        said = f"'{value[:80]}' is not pci, a PCI address or a network interface"
        raise ValueError(f"{said}; write for example 0000:3b:00.0 or eth0")
    return value


NEAR = Kind(
    what="pci, a PCI address or a network interface of the host",
    schema={"type": "string", "pattern": f"^({_ADDRESS}|{_INTERFACE})$"},
    parse=_near,
    load=_near,
)


_HELPER = r"emulator|iothread[1-9][0-9]{0,3}|nodes"


def _helper(value: str) -> str:
    if not re.fullmatch(_HELPER, value):
        raise ValueError(f"'{value[:80]}' is not emulator, nodes or an iothread; write for example iothread1")
    return value


HELPER = Kind(
    what="emulator, nodes or an iothread (iothread1)",
    schema={"type": "string", "pattern": f"^({_HELPER})$"},
    parse=_helper,
    load=_helper,
)


@group
class Wishes:
    """Where kvmctl is to place the VM. Kept in the VM's own metadata, for when it is placed anew."""

    SHORTHAND: ClassVar = "policy"

    policy: str | None = scalar(
        "@policy",
        choice("compact", "spread", "isolate"),
        "compact keeps vCPUs together, spread gives them as many caches and cores as their NUMA nodes have, isolate "
        "keeps away from other VMs; compact if left out.",
        example="compact",
    )
    threads: str | None = scalar(
        "@threads",
        choice("share", "own_core", "siblings"),
        "share takes any threads of cores, own_core gives each vCPU a core of its own, siblings takes whole cores; "
        "share if left out.",
    )
    exclusive: bool | None = scalar("@exclusive", BOOLEAN, "The CPUs are this VM's alone; also those named in pin.")
    near: tuple[str, ...] = through(
        Words("@near", NEAR),
        NEAR,
        "Devices of the host to be near to: by PCI address, by network interface, or pci for all that the VM has.",
        many=True,
        one=True,
        example="[pci]",
    )
    stopped: str | None = scalar(
        "@stopped",
        choice("honour", "ignore"),
        "Whether CPUs that stopped VMs are pinned to count as taken; honour if left out.",
    )
    automatic: bool | None = scalar(
        "@pin",
        boolean(AUTO, "manual"),
        "The pins given were chosen by kvmctl, which may choose anew. For 'kvmctl export' to write; others write "
        "pin: auto.",
    )
    by_hand: tuple[str, ...] = through(
        Words("@by_hand", HELPER),
        HELPER,
        "Of what is given beside automatic, that which kvmctl did not choose and leaves alone. For 'kvmctl export' to "
        "write, too.",
        many=True,
        one=True,
        example="[emulator]",
    )


PLACEMENT = f"metadata/{metadata.VM}/{metadata.PLACEMENT}"
