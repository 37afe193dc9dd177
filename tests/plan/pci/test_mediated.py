"""Which mediated devices the entries of a spec mean, where new ones are made, and what stands against one."""

from __future__ import annotations

from typing import Any

import pytest

from kvmctl.errors import KvmctlError, NotFound, Refused
from kvmctl.plan.pci.choose import Chosen, Taste, choose
from kvmctl.plan.pci.facts import Holder, Inventory, Iommu, Mdev, MdevType
from kvmctl.plan.pci.guard import check
from kvmctl.plan.pci.mediated import own, parent
from kvmctl.plan.pci.system import Block
from kvmctl.spec.model.network import Network
from kvmctl.spec.model.pci import Pci
from kvmctl.spec.model.vm import Vm
from tests.plan.pci.world import device, has, host

KIND = "nvidia-35"
NEAR, FAR = "0000:06:00.0", "0000:86:00.0"
ONE, TWO, NEW = (f"{letter}2177883-f1bb-47f0-914d-32a22e3a8804" for letter in "abc")


def mdev(uuid: str, at: str = NEAR, **more: Any) -> Mdev:
    return Mdev(uuid=uuid, type=KIND, parent=at, **{"defined": True, **more})


def world(*mdevs: Mdev, free: tuple[int, int] = (2, 2), **more: Any) -> Inventory:
    cards = (
        device(at, "gpu", group=number, numa_node=number, mdev_types=(MdevType(id=KIND, free=free[number]),))
        for number, at in enumerate((NEAR, FAR))
    )
    return host(*cards, mdevs={one.uuid: one for one in mdevs}, **more)


def chosen(known: Inventory, *words: str, nodes: tuple[int, ...] = (), uuid: str = "", **aliases: str) -> Chosen:
    uuids = iter((NEW, *(f"{number}0000000-0000-4000-8000-000000000000" for number in range(9))))
    taste = Taste(uuid=uuid, nodes=frozenset(nodes), aliases=aliases, new_uuid=lambda: next(uuids))
    return choose(Vm(name="web1", pci=tuple(Pci(device=word) for word in words)), known, taste)


def test_one_that_nobody_has_is_taken() -> None:
    found = chosen(world(mdev(ONE), mdev(TWO), holders={ONE: has("db1", running=False)}), f"mdev:{KIND}")
    assert [entry.mdev for entry in found.vm.pci] == [TWO]
    assert (found.addresses, found.mdevs, found.picked) == ((TWO,), (), frozenset({TWO}))
    assert found.sentences == (f"mdev: {KIND} is {TWO}, of {NEAR}",)


def test_the_vm_s_own_is_found_again_then_one_near_then_one_that_stays() -> None:
    own_one = {TWO: (Holder(vm="web1", uuid="own", running=True),)}
    found = chosen(world(mdev(ONE), mdev(TWO), holders=own_one), f"mdev:{KIND}", uuid="own")
    assert (found.addresses, found.picked) == ((TWO,), frozenset())
    assert chosen(world(mdev(ONE), mdev(TWO, FAR)), f"mdev:{KIND}", nodes=(1,)).addresses == (TWO,)
    assert chosen(world(mdev(ONE, defined=False), mdev(TWO)), f"mdev:{KIND}").addresses == (TWO,)
    assert "is gone when host1 boots" in chosen(world(mdev(ONE, defined=False)), f"mdev:{KIND}").sentences[-1]


def test_else_one_is_made_where_there_is_room() -> None:
    found = chosen(world(), f"mdev:{KIND}", "gpu")
    made = Mdev(uuid=NEW, type=KIND, parent=NEAR, active=True, defined=True, autostart=True)
    assert (found.mdevs, found.addresses, found.picked) == ((made,), (NEAR,), frozenset({NEAR, NEW}))
    assert [entry.address or entry.mdev for entry in found.vm.pci] == [NEAR, NEW]
    assert [one.parent for one in chosen(world(free=(1, 2)), *[f"mdev:{KIND}"] * 3).mdevs] == [NEAR, FAR, FAR]
    assert chosen(world(), f"mdev:{KIND}", nodes=(1,)).mdevs[0].parent == FAR
    with pytest.raises(Refused) as caught:
        chosen(world(free=(1, 2)), *[f"mdev:{KIND}"] * 4)
    assert caught.value.code == "device-not-free"


def test_what_the_host_needs_can_be_cut_all_the_same() -> None:
    needed = world(blocks=(Block(name="sda", pci=NEAR, mounts=("/",)),))
    assert needed.needs[NEAR]
    assert chosen(needed, f"mdev:{KIND}").mdevs[0].parent == NEAR


def test_one_by_its_uuid_which_no_type_takes_away() -> None:
    known = world(mdev(ONE), mdev(TWO, active=False))
    found = chosen(known, f"mdev:{KIND}", f"mdev:{ONE.upper()}")
    assert found.addresses == (TWO, ONE)
    assert (found.picked, found.mdevs) == (frozenset({TWO}), (mdev(TWO),))
    assert chosen(known, "alias:vgpu", vgpu=f"mdev:{ONE}").addresses == (ONE,)
    for word in (f"mdev:{NEW}", "mdev:nvidia-36"):
        with pytest.raises(NotFound):
            chosen(known, word)


def test_no_card_is_an_mdev() -> None:
    vm = Vm(name="web1", networks=(Network(hostdev="alias:vgpu"),))
    with pytest.raises(KvmctlError, match="no device as a whole"):
        choose(vm, world(), Taste(aliases={"vgpu": f"mdev:{KIND}"}))


def test_where_one_is_made_by_hand() -> None:
    assert parent(world(), KIND, address="86:00.0").address == FAR
    assert parent(world(free=(0, 1)), KIND, nodes=[0]).address == FAR
    with pytest.raises(Refused, match="has no room"):
        parent(world(free=(0, 1)), KIND, address=NEAR)
    plain = host(device(NEAR, "gpu", mdev_types=(MdevType(id=KIND, free=1),)), device(FAR, "gpu"))
    with pytest.raises(Refused, match="its types are none"):
        parent(plain, KIND, address=FAR)
    with pytest.raises(NotFound, match="it has none"):
        parent(host(device(NEAR, "gpu")), KIND)


def test_what_stands_against_one() -> None:
    off = Iommu(enabled=False)
    assert check(world(mdev(ONE), iommu=off), [ONE], uuid="own") == ()
    [missing] = check(world(), [ONE])
    assert (missing.verdict, missing.code) == ("blocker", "device-missing")
    [busy] = check(world(mdev(ONE), holders={ONE: has("db1")}), [ONE], uuid="own")
    assert (busy.verdict, busy.code) == ("blocker", "device-in-use")
    [shared] = check(world(mdev(ONE), holders={ONE: has("db1", running=False)}), [ONE])
    assert (shared.verdict, shared.code) == ("note", "device-assigned")
    assert check(world(mdev(ONE), holders={ONE: has("db1")}), [ONE], uuid="uuid of db1") == ()
    assert {each.code for each in check(world(mdev(ONE)), [ONE, ONE])} == {"device-twice"}


def test_the_one_that_a_vm_has() -> None:
    known = world(mdev(ONE), mdev(TWO))
    assert own(known, KIND, [ONE]) == ONE
    assert own(known, KIND, [ONE, TWO]) == ""
    assert own(known, NEW, [ONE]) == NEW
