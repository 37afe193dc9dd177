"""Nothing is cried in vain: VMs of all kinds between hosts of all kinds, where the target has whatever they need."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from xml.etree.ElementTree import Element

import pytest

from kvmctl.plan.migration.check import findings, looked
from kvmctl.plan.migration.disk import path_there
from kvmctl.plan.migration.ends import Ends, Pool, Sight
from kvmctl.plan.migration.wish import Wish
from kvmctl.plan.placement.memory import available
from kvmctl.plan.topology import Tenant
from tests.plan.migration.healthy import GIB, domain, end, ends, guest, local, seen
from tests.plan.placement.topologies import MIDDLE, host

NUMBERS = range(400)
HUGE = 2**21


class Made:
    """One VM, with all it needs at the target, written down as it is made."""

    def __init__(self, number: int) -> None:
        self.random = Random(number)
        self.there = host(self.random, MIDDLE)
        self.running = self.random.random() < 0.8
        self.maps: dict[str, str] = {}
        self.networks: dict[str, bool] = {"unused": False}
        self.interfaces = {"lo"}
        self.pools: dict[str, Pool] = {}
        self.pools_here: dict[str, Pool] = {}
        self.secrets: set[str] = set()
        self.sights: dict[str, Sight] = {}
        self.copies = self.random.random() < 0.2

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def moved(self, kind: str, name: str) -> str:
        """A name, and now and then another one at the target."""
        if self.chance(0.3):
            self.maps[f"{kind}:{name}"] = f"{name}-there"
            return f"{name}-there"
        return name

    # -- parts ----------------------------------------------------------------------------------------------------

    def disk(self, number: int) -> str:
        target = f"<target dev='vd{chr(97 + number)}' bus='virtio'/>"
        return self.random.choice((self.file, self.network, self.volume, self.cd, self.empty))(number, target)

    def file(self, number: int, target: str) -> str:
        directory = f"/srv/{number}"
        path = f"{directory}/disk"
        if self.chance(0.3):
            self.maps[directory] = f"/mnt/{number}"
        there = path_there(path, self.maps)
        backing = (f"{directory}/base",) if self.chance(0.4) else ()
        for below in backing:
            self.sights[below] = seen(path_there(below, self.maps))
        alone = self.copies and self.chance(0.7)
        self.sights[path] = (local if alone else seen)(there, backing=backing, store=directory)
        cache = self.random.choice(("", " cache='none'", " cache='writeback'"))
        return f"<disk type='file'><driver name='qemu' type='qcow2'{cache}/><source file='{path}'/>{target}</disk>"

    def network(self, number: int, target: str) -> str:
        self.secrets.add(f"secret-{number}")
        source = f"<source protocol='rbd' name='p/{number}'><host name='mon'/></source>"
        secret = f"<auth username='u'><secret type='ceph' uuid='secret-{number}'/></auth>"
        return f"<disk type='network'><driver name='qemu' type='raw'/>{secret}{source}{target}</disk>"

    def volume(self, number: int, target: str) -> str:
        name = f"pool{number}"
        kind = self.random.choice(("rbd", "iscsi", "gluster"))
        self.pools_here[name] = self.pools[self.moved("pool", name)] = Pool(type=kind, source="host:san name:x")
        return f"<disk type='volume'><source pool='{name}' volume='v'/>{target}</disk>"

    def cd(self, number: int, target: str) -> str:
        path = f"/iso/{number}.iso"
        # Not the same file, but the same content.
        self.sights[path] = local(path, present=True, size_there=GIB) if self.chance(0.5) else seen(path)
        return f"<disk type='file' device='cdrom'><source file='{path}'/>{target}<readonly/></disk>"

    def empty(self, number: int, target: str) -> str:
        return f"<disk type='file' device='cdrom'>{target}</disk>"

    def card(self, number: int) -> str:
        if self.chance(0.5):
            self.networks[self.moved("network", f"net{number}")] = True
            return f"<interface type='network'><source network='net{number}'/></interface>"
        self.interfaces.add(self.moved("bridge", f"br{number}"))
        return f"<interface type='bridge'><source bridge='br{number}'/></interface>"

    def place(self, memory: int) -> str:
        """Pins and pages that the target has."""
        random, free = self.random, sorted(self.there.online)
        pins = "".join(
            f"<vcpupin vcpu='{vcpu}' cpuset='{random.choice(free)}'/>" for vcpu in range(2) if self.chance(0.4)
        )
        room = sum(available(self.there, (), HUGE).values())
        pages = 0 < room >= memory and self.chance(0.7)
        size = f"<page size='{HUGE // 1024}' unit='KiB'/>"
        backing = f"<memoryBacking><hugepages>{size}</hugepages></memoryBacking>" if pages else ""
        return backing + (f"<cputune>{pins}</cputune>" if pins else "")

    def xml(self) -> Element:
        ordinary = sum(available(self.there, (), None).values())
        memory = min(2 * GIB, ordinary)
        disks = "".join(self.disk(number) for number in range(self.random.randint(0, 4)))
        cards = "".join(self.card(number) for number in range(self.random.randint(0, 3)))
        found = domain(top=self.place(memory), disk=disks, devices=cards, running=self.running)
        for name in ("memory", "currentMemory"):
            element = found.find(name)
            assert element is not None
            element.text = str(memory)
            element.set("unit", "b")
        return found

    def ends(self) -> Ends:
        xml = self.xml()
        self.networks[self.maps.get("network:default", "default")] = True
        vm = guest(xml, running=self.running, memory=2 * GIB)
        taken = Tenant(vm="other", uuid="uuid of other", memory=0, running=False)
        found = ends(
            vm,
            source={"topology": host(self.random, MIDDLE), "pools": self.pools_here},
            target={
                "topology": self.there,
                "networks": self.networks,
                "interfaces": frozenset(self.interfaces),
                "pools": self.pools,
                "secrets": frozenset(self.secrets),
                "tenants": (taken,),
                "libvirt": 9_000_000 + self.random.choice((0, 2_003_000)),
            },
            wish=Wish(maps=self.maps, copy_disks=self.copies),
        )
        return replace(found, sights=self.sights)


@pytest.mark.parametrize("number", NUMBERS)
def test_nothing_is_cried_in_vain(number: int) -> None:
    made = Made(number).ends()
    cried = [each for each in findings(made) if each.verdict in ("warning", "blocker")]
    assert cried == []
    # Whatever is said is said of this VM, and its disks are all accounted for.
    assert set(looked(made).disks) == {disk.target for disk in made.guest.disks}
    assert "unknown" not in looked(made).disks.values()


@pytest.mark.parametrize("number", range(100))
def test_what_the_target_lacks_is_told(number: int) -> None:
    """The same VMs, and a target that has nothing of its own."""
    made = Made(number).ends()
    poor = replace(made, target=end("host2", networks={}, interfaces=frozenset(), pools={}, secrets=frozenset()))
    told = {each.code for each in findings(poor) if each.verdict == "blocker"}
    assert "network-missing" in told
    for code, path in (
        ("bridge-missing", "devices/interface[@type='bridge']"),
        ("pool-missing", "devices/disk[@type='volume']"),
        ("secret-missing", "devices/disk[@type='network']"),
    ):
        assert (code in told) is (made.xml.find(path) is not None)
