"""What a machine's own eyes make of its /sys and /proc: every way in which a host can need a device."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from kvmctl.host.pci import processes, sysfs, uses
from kvmctl.host.pci.iommu import iommu
from kvmctl.plan.pci.facts import Inventory, Mdev, Need
from kvmctl.plan.pci.guard import blockers, check
from kvmctl.plan.pci.needs import needs
from tests.host.pci.tree import Tree

NVME, SECOND, SATA, NIC, SPARE = "0000:01:00.0", "0000:02:00.0", "0000:00:1f.2", "0000:03:00.0", "0000:03:00.1"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def needed(tree: Tree, *, connection: str = "", running: tuple[str, ...] = ()) -> dict[str, tuple[Need, ...]]:
    devices = sysfs.devices(tree.root)
    return needs(uses.system_of(devices, tree.root, connection=connection, claims=False, running=running), devices)


def said(tree: Tree, address: str, **more: str) -> list[tuple[str, str]]:
    return [(need.code, need.sentence) for need in needed(tree, **more).get(address, ())]  # type: ignore[arg-type]


def test_mediated_devices_as_the_kernel_tells_of_them(tree: Tree) -> None:
    uuid = "c2177883-f1bb-47f0-914d-32a22e3a8804"
    place = tree.pci(NIC, "vga", group=1, driver="nvidia")
    kind = place / "mdev_supported_types/nvidia-35"
    tree.file(kind / "name", "GRID T4-1B\n")
    tree.file(kind / "available_instances", "15\n")
    tree.link(place / uuid / "mdev_type", kind)
    tree.link(f"sys/bus/mdev/devices/{uuid}", place / uuid)
    assert sysfs.mdevs(tree.root) == {uuid: Mdev(uuid=uuid, type="nvidia-35", parent=NIC)}
    [found] = sysfs.devices(tree.root)[NIC].mdev_types
    assert (found.id, found.name, found.free) == ("nvidia-35", "GRID T4-1B", 15)


def test_a_device_as_the_kernel_tells_of_it(tree: Tree) -> None:
    tree.pci("0000:00:01.0", "bridge", group=1, driver="pcieport")
    place = tree.pci(NIC, "nic", on="0000:00:01.0", group=7, driver="igb")
    function = tree.pci("0000:03:10.0", "nic", on="0000:00:01.0", group=8, driver="vfio-pci")
    tree.file(place / "sriov_totalvfs", "7\n")
    tree.file(place / "numa_node", "1\n")
    tree.file(place / "reset_method", "flr bus\n")
    tree.file(place / "rom")
    tree.link(place / "virtfn0", function)
    tree.link(function / "physfn", place)
    tree.file(function / "config", b"\xff" * 64)
    tree.card("eth0", NIC, up=True)
    found = sysfs.devices(tree.root)
    card = found[NIC]
    assert (card.class_code, card.vendor, card.product, card.driver) == (0x020000, "8086", "10c9", "igb")
    assert (card.group, card.numa_node, card.parent) == (7, 1, "0000:00:01.0")
    assert (card.virtual_functions, card.most_virtual_functions) == (("0000:03:10.0",), 7)
    assert (card.resets, card.rom, card.boot_vga, card.interfaces, card.link_up) == (
        ("flr", "bus"),
        True,
        False,
        ("eth0",),
        True,
    )
    assert (card.unreachable, found["0000:03:10.0"].unreachable) == (False, True)
    assert (found["0000:03:10.0"].physical_function, found["0000:03:10.0"].link_up) == (NIC, None)
    assert found["0000:00:01.0"].is_bridge
    # Vendor and product of a virtual function always read so.
    tree.file(function / "config", b"\xff" * 4 + bytes(60))
    assert not sysfs.devices(tree.root)["0000:03:10.0"].unreachable


def test_the_whole_way_from_a_file_system_to_the_disk(tree: Tree) -> None:
    tree.pci(NVME, "nvme", driver="nvme")
    tree.pci(SECOND, "nvme", driver="nvme")
    for name, at in (("nvme0n1", NVME), ("nvme1n1", SECOND)):
        tree.block(name, at)
        tree.block(f"{name}p2", below=(name,), kind="partition")
    tree.block("md0", below=("nvme0n1p2", "nvme1n1p2"), kind="md")
    tree.block("dm-1", below=("md0",), kind="dm:CRYPT-LUKS2-1:secret")
    tree.mount(tree.block("dm-0", below=("dm-1",), kind="dm:LVM-1:vg--0-root--fs"), "/", "/dev/mapper/vg--0-root--fs")
    for address, disk in ((NVME, "nvme0n1"), (SECOND, "nvme1n1")):
        codes = dict(said(tree, address))
        assert codes["mounted"] == f"/ is on vg-0/root-fs, on secret, on md0, on {disk}p2, on {disk}"
        assert codes.keys() == {"mounted", "raid", "crypt", "lvm"}


def test_what_is_part_of_something_is_needed_though_nothing_is_mounted(tree: Tree) -> None:
    tree.pci(NVME, "nvme", driver="nvme")
    tree.pci(SECOND, "nvme", driver="nvme")
    tree.block("nvme0n1", NVME)
    tree.block("nvme1n1", SECOND)
    tree.block("md0", below=("nvme0n1",), kind="md")
    assert said(tree, NVME) == [("raid", "md0 is made of nvme0n1")]
    assert said(tree, SECOND) == []


def test_disks_of_many_kinds_of_controller(tree: Tree) -> None:
    tree.pci("0000:00:14.0", "usb", driver="xhci_hcd")
    tree.pci(SATA, "sata", driver="ahci")
    tree.mount(tree.block("sda", "0000:00:14.0", path="usb1/1-1/1-1:1.0/host0/block"), "/media", "/dev/sda")
    tree.block("sdb", SATA, path="ata1/host1/block")
    tree.block("loop0", kind="loop")
    tree.file(tree.places["loop0"] / "loop/backing_file", "/dev/sdb\n")
    assert said(tree, "0000:00:14.0") == [("mounted", "/media is on sda")]
    assert said(tree, SATA) == [("block", "loop0 is made of sdb")]


def test_a_controller_with_a_bus_of_its_own_behind_it(tree: Tree) -> None:
    tree.pci("0000:00:0e.0", "raid", driver="vmd")
    tree.pci("10000:e0:06.0", "bridge", on="0000:00:0e.0")
    tree.pci("10000:e1:00.0", "nvme", on="10000:e0:06.0", driver="nvme")
    tree.mount(tree.block("nvme0n1", "10000:e1:00.0", path="nvme/nvme0"), "/", "/dev/nvme0n1")
    found = needed(tree)
    assert found.keys() == {"10000:e1:00.0", "0000:00:0e.0"}
    assert found["0000:00:0e.0"][0].sentence == "/ is on nvme0n1, on 10000:e1:00.0"


def test_a_disk_with_two_ways_to_it(tree: Tree) -> None:
    subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    for address, name in ((NVME, "nvme0"), (SECOND, "nvme1")):
        tree.pci(address, "nvme", driver="nvme")
        (tree.places[address] / "nvme" / name).mkdir(parents=True)
        tree.link(f"{subsystem}/{name}", tree.places[address] / "nvme" / name)
    tree.places["subsystem"] = tree.root / subsystem
    tree.mount(tree.block("nvme0n1", "subsystem", path="."), "/", "/dev/nvme0n1")
    for address in (NVME, SECOND):
        assert ("mounted", "/ is on nvme0n1") in [(code, text[:15]) for code, text in said(tree, address)]


def test_swap_btrfs_and_mounts_of_others(tree: Tree) -> None:
    for number, address in enumerate((NVME, SECOND, SATA)):
        tree.pci(address, "nvme", driver="nvme")
        tree.block(f"nvme{number}n1", address)
    tree.file("proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1 partition 1 0 -2\n")
    tree.mount("0:99", "/data\\040base", "/dev/nvme1n1", "btrfs")
    for name in ("nvme1n1", "nvme2n1"):
        tree.link(f"sys/fs/btrfs/1-2/devices/{name}", tree.places[name])
    assert said(tree, NVME) == [("swap", "it swaps to nvme0n1")]
    assert said(tree, SECOND) == [("mounted", "/data base is on nvme1n1")]
    assert said(tree, SATA) == [("mounted", "/data base is on nvme2n1")]
    tree.process(77, "hidden", space=2, mounts="9 8 8:1 / /inside rw - ext4 /dev/nvme0n1 rw\n")
    assert ("mounted", "/inside is on nvme0n1") in said(tree, NVME)


def test_what_a_hypervisor_shares(tree: Tree) -> None:
    tree.pci("0000:00:05.0", driver="virtio-pci")
    place = tree.places["0000:00:05.0"] / "virtio3"
    tree.file(place / "mount_tag", b"home\0")
    tree.link("sys/bus/virtio/drivers/9pnet_virtio/virtio3", place)
    assert said(tree, "0000:00:05.0") == []
    tree.mount("0:50", "/home", "home", "9p")
    assert said(tree, "0000:00:05.0") == [("mounted", "/home is on home")]


def test_networks(tree: Tree) -> None:
    cards = {f"0000:03:00.{number}": f"eth{number}" for number in range(6)}
    for address, name in cards.items():
        tree.pci(address, "nic", driver="igb")
        tree.card(name, address)
    tree.card("bond0", below=("eth0", "eth1"), kind="bond")
    tree.card("bond0.5", below=("bond0",), kind="vlan")
    tree.card("br0", below=("bond0.5",), kind="bridge")
    tree.address("br0", "10.0.0.2")
    tree.route("br0")
    tree.card("br1", below=("eth2",), kind="bridge")
    tree.card("macvlan0", below=("eth3",), kind="macvlan")
    tree.file("proc/net/if_inet6", "fe800000000000000000000000000001 07 40 20 80 eth4\n")
    found = needed(tree, connection="10.0.0.2")
    for number in (0, 1):
        told = {need.code: need.sentence for need in found[f"0000:03:00.{number}"]}
        assert told["connection"] == f"this connection comes through br0, on bond0.5, on bond0, on eth{number}"
        assert told["address"].startswith("br0 has the address 10.0.0.2, on bond0.5")
        assert told.keys() == {"connection", "route", "address", "bond", "bridge"}
    assert [need.sentence for need in found["0000:03:00.2"]] == ["eth2 is part of br1"]
    # Nothing uses the one on eth3, and an address that reaches no farther than the link is none.
    assert not found.keys() & {"0000:03:00.3", "0000:03:00.4", "0000:03:00.5"}
    tree.address("macvlan0", "10.1.0.2")
    assert [need.code for need in needed(tree)["0000:03:00.3"]] == ["address"]


def test_other_network_namespaces(tree: Tree) -> None:
    tree.pci(NIC, "nic", driver="igb")
    tree.pci(SPARE, "nic", driver="igb")
    tree.card("eth0", NIC, up=True)
    # The interface of the second card is nowhere to be seen.
    assert [(address, told[0].code) for address, told in needed(tree).items()] == [(SPARE, "hidden")]
    tree.process(50, "private", space=2)
    assert NIC not in needed(tree)
    tree.process(51, "container", space=3, cards="eth0")
    assert said(tree, NIC) == [("hidden", "eth0 is up, and may be used by another network namespace")]


def test_the_console(tree: Tree) -> None:
    for driver in ("", "amdgpu", "vfio-pci"):
        address = f"0000:0a:00.{len(driver) % 7}"
        tree.file(tree.pci(address, "vga", driver=driver) / "boot_vga", "1\n")
        assert [code for code, _ in said(tree, address)] == ["screen"] * (driver != "vfio-pci")


def test_what_processes_have_open(tree: Tree) -> None:
    tree.pci(NVME, "nvme", driver="nvme")
    tree.block("nvme0n1", NVME)
    tree.pci("0000:0a:00.0", "vga", driver="amdgpu")
    tree.char("dri/card0", "0000:0a:00.0")
    tree.char("input/event0", "0000:0a:00.0")
    tree.pci(NIC, "nic", group=4, driver="vfio-pci")
    tree.pci(SPARE, "nic", group=5, driver="igb")
    tree.card("eth1", SPARE)
    tree.process(60, "Xorg", "/dev/dri/card0", "/dev/null", "socket:[1]")
    tree.process(61, "logind", "/dev/input/event0")
    tree.process(62, "database", "/dev/nvme0n1")
    tree.process(63, "dpdk", "/dev/vfio/4", "/dev/vfio/vfio")
    assert processes.openers(tree.root).keys() == {"dri/card0", "nvme0n1", "vfio/4"}
    found = {address: told[0].sentence for address, told in needed(tree).items()}
    assert found == {
        NVME: "database (62) has nvme0n1 open",
        "0000:0a:00.0": "Xorg (60) has it open",
        NIC: "dpdk (63) has it open",
    }
    assert NIC not in needed(tree, running=(NIC,))


def test_what_the_machine_has_for_it(tree: Tree) -> None:
    assert iommu(tree.root).enabled is False
    tree.pci(NIC, "nic", group=4, driver="vfio-pci")
    tree.file("proc/interrupts", " 24: 0 IR-PCI-MSI 1-edge\n")
    tree.file("proc/cmdline", "quiet intel_iommu=on\n")
    tree.file("sys/firmware/acpi/tables/DMAR")
    found = iommu(tree.root)
    assert (found.enabled, found.vfio, found.interrupt_remapping, found.firmware) == (True, True, True, True)
    assert (found.processor, found.kernel, found.locked_memory) == ("intel", "quiet intel_iommu=on", None)
    tree.file("proc/interrupts", " 24: 0 PCI-MSI 1-edge\n")
    assert iommu(tree.root).interrupt_remapping is False


@pytest.mark.parametrize("seed", range(30))
def test_what_is_used_is_never_given_away(tmp_path: Path, seed: int) -> None:
    """Trees made at random. What is used is known by the way they are made, from the hardware upwards."""
    draw, tree = Random(seed), Tree(tmp_path)
    addresses = [f"0000:{bus:02x}:00.0" for bus in range(1, 8)]
    hardware: dict[str, frozenset[str]] = {}
    used: set[str] = set()
    for group, address in enumerate(addresses):
        kind = draw.choice(("nvme", "sata", "nic"))
        tree.pci(address, kind, group=group, driver={"nvme": "nvme", "sata": "ahci", "nic": "igb"}[kind])
        if kind == "nic":
            tree.card(f"eth{group}", address)
        for disk in range(0 if kind == "nic" else draw.randint(1, 2)):
            tree.block(f"disk{group}{disk}", address)
            hardware[f"disk{group}{disk}"] = frozenset({address})
            if draw.random() < 0.5:
                tree.block(f"disk{group}{disk}p1", below=(f"disk{group}{disk}",), kind="partition")
                hardware[f"disk{group}{disk}p1"] = frozenset({address})
    for layer in range(draw.randint(0, 3) if hardware else 0):
        members = tuple(draw.sample(sorted(hardware), draw.randint(1, min(3, len(hardware)))))
        kind = draw.choice(("md", "dm:LVM-1:vg-lv", "dm:CRYPT-1:c", "dm:mpath-1:m"))
        tree.block(f"layer{layer}", below=members, kind=kind)
        hardware[f"layer{layer}"] = frozenset().union(*(hardware[member] for member in members))
        used |= hardware[f"layer{layer}"]
    for name in draw.sample(sorted(hardware), min(2, len(hardware))):
        number = (tree.places[name] / "dev").read_text().strip()
        tree.mount(number, "/srv", f"/dev/{name}")
        used |= hardware[name]
    cards = [name for name in tree.places if name.startswith("eth")]
    for name in cards[: draw.randint(0, len(cards))]:
        tree.card(f"br-{name}", below=(name,), kind=draw.choice(("bridge", "vlan")))
        tree.address(f"br-{name}", "10.0.0.9")
        used.add(addresses[int(name[3:])])
    inventory = Inventory(host="host1", devices=sysfs.devices(tree.root), needs=needed(tree))
    free = {address for address in addresses if not blockers(check(inventory, [address]))}
    assert free == set(addresses) - used
