"""Which block devices of a host VMs can have as disks: what the host needs, what it does not, what others run with."""

from __future__ import annotations

from typing import Any

import pytest

from kvmctl.plan.blocks import Given, check
from kvmctl.plan.pci.needs import block_needs
from kvmctl.plan.pci.system import Block, System


def part(name: str, of: str, **more: Any) -> Block:
    return Block(name=name, layer="partition", below=(of,), **more)


BLOCKS = (
    Block(name="vda"),  # the host runs from it
    part("vda1", "vda", mounts=("/boot",)),
    part("vda2", "vda"),  # a physical volume
    part("vda3", "vda"),  # free
    part("vda4", "vda", swap=True),
    Block(name="dm-0", layer="lvm", label="vg0/root", below=("vda2",), mounts=("/",)),
    Block(name="dm-1", layer="lvm", label="vg0/web1", below=("vda2",)),
    Block(name="sda"),  # free
    part("sda1", "sda"),
    Block(name="sdb"),
    Block(name="sdc"),
    Block(name="md0", layer="raid", below=("sdb", "sdc")),
    Block(name="sdd"),
    Block(name="dm-2", layer="multipath", label="mpatha", below=("sdd", "sde")),
    Block(name="dm-3", layer="partition", label="mpatha-part1", below=("dm-2",)),
    Block(name="sde"),
    Block(name="sdf", mounts=("/srv",)),
    part("sdf1", "sdf"),
    Block(name="sdg", claimed=True),
    Block(name="sdh"),
    part("sdh1", "sdh"),
    Block(name="dm-4", layer="crypt", label="secret", below=("sdh1",), mounts=("/home",)),
    Block(name="loop0", layer="loop", below=("sda1",)),
    Block(name="sdi", claimed=None),
)
SYSTEM = System(blocks={block.name: block for block in BLOCKS})
FREE = System(blocks={name: block for name, block in SYSTEM.blocks.items() if name != "loop0"})

NEEDED = {
    "vda": [
        ("mounted", "/ is on vg0/root, on vda2, on vda"),
        ("mounted", "/boot is on vda1, on vda"),
        ("swap", "it swaps to vda4, on vda"),
        ("lvm", "vg0/root is made of vda2, on vda"),
        ("lvm", "vg0/web1 is made of vda2, on vda"),
    ],
    "vda1": [("mounted", "/boot is on vda1")],
    "vda2": [
        ("mounted", "/ is on vg0/root, on vda2"),
        ("lvm", "vg0/root is made of vda2"),
        ("lvm", "vg0/web1 is made of vda2"),
    ],
    "vda4": [("swap", "it swaps to vda4")],
    "dm-0": [("mounted", "/ is on vg0/root")],
    "sda": [("block", "loop0 is made of sda1, on sda")],
    "sdb": [("raid", "md0 is made of sdb")],
    "sdd": [("multipath", "mpatha is made of sdd")],
    "sdf1": [("mounted", "/srv is on sdf, of which sdf1 is a part")],
    "sdg": [("claimed", "something of the host has sdg for itself")],
    "sdh": [
        ("mounted", "/home is on secret, on sdh1, on sdh"),
        ("crypt", "secret is made of sdh1, on sdh"),
    ],
}


@pytest.mark.parametrize("name", NEEDED)
def test_what_the_host_needs(name: str) -> None:
    assert [(need.code, need.sentence) for need in block_needs(SYSTEM, name)] == NEEDED[name]
    [found] = check(SYSTEM, [Given(path=f"/dev/{name}", name=name)], others={})
    assert (found.code, found.verdict, found.subject) == ("host-needs-device", "blocker", f"/dev/{name}")
    assert all(sentence in found.what for _, sentence in NEEDED[name])
    assert f"--force-host-device /dev/{name}" in found.hint


@pytest.mark.parametrize("name", ["vda3", "dm-1", "md0", "dm-2", "dm-3", "loop0", "gone"])
def test_what_it_does_not_need_though_it_may_be_on_the_same_disk(name: str) -> None:
    assert check(SYSTEM, [Given(path=f"/dev/{name}", name=name)], others={}) == ()


def test_a_whole_disk_that_nobody_uses() -> None:
    for name in ("sda", "sda1"):
        assert check(FREE, [Given(path=f"/dev/{name}", name=name)], others={}) == ()


def test_the_very_device_can_be_taken_and_no_other() -> None:
    disk = Given(path="/dev/disk/by-id/nvme-1", name="vda")
    [found] = check(SYSTEM, [disk], others={}, forced={"vda"})
    assert (found.code, found.verdict) == ("host-needs-device", "warning")
    assert "the host loses /dev/disk/by-id/nvme-1 (vda): / is on" in found.what
    for other in ("vda1", "sda", "/dev/disk/by-id/nvme-1"):
        assert check(SYSTEM, [disk], others={}, forced={other})[0].verdict == "blocker"


def test_what_can_only_be_read_is_no_more_than_warned_of() -> None:
    [found] = check(SYSTEM, [Given(path="/dev/vda1", name="vda1", readonly=True)], others={})
    assert (found.code, found.verdict) == ("host-needs-device", "warning")


@pytest.mark.parametrize(
    ("own", "theirs", "verdict"),
    [
        ({}, {}, "blocker"),
        ({"readonly": True}, {}, "blocker"),
        ({"shareable": True}, {}, "blocker"),
        ({}, {"shareable": True}, "blocker"),
        ({}, {"readonly": True}, "warning"),
        ({"shareable": True}, {"shareable": True}, None),
        ({"readonly": True}, {"readonly": True}, None),
    ],
)
def test_two_vms_with_one_disk(own: dict[str, bool], theirs: dict[str, bool], verdict: str | None) -> None:
    other = {"web2": [Given(path="/dev/sda", name="sda", **theirs)]}
    found = check(FREE, [Given(path="/dev/sda", name="sda", **own)], others=other, forced={"sda"})
    assert [(each.code, each.verdict) for each in found] == ([("device-in-use", verdict)] if verdict else [])
    assert all("web2 runs with it" in each.what for each in found)


@pytest.mark.parametrize(("own", "theirs"), [("sda", "sda1"), ("sda1", "sda")])
def test_a_disk_and_a_part_of_it(own: str, theirs: str) -> None:
    others = {"web2": [Given(path=f"/dev/{theirs}", name=theirs)]}
    [found] = check(FREE, [Given(path=f"/dev/{own}", name=own)], others=others)
    assert f"web2 runs with /dev/{theirs}" in found.what
    # A neighbour on the same disk is nothing to it, and nor is another logical volume of the group.
    for neighbour, other in (("vda3", "dm-1"), ("dm-1", "dm-5")):
        beside = {"web2": [Given(path=f"/dev/{other}", name=other)]}
        assert check(FREE, [Given(path=f"/dev/{neighbour}", name=neighbour)], others=beside) == ()


def test_loops_end() -> None:
    round_about = System(blocks={"a": Block(name="a", below=("b",)), "b": Block(name="b", below=("a",))})
    assert {need.code for need in block_needs(round_about, "a")} == {"block"}
    assert check(round_about, [Given(path="/dev/a", name="a")], others={"web2": [Given(path="/dev/c", name="c")]})
