"""Which devices the entries of a spec mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmctl.errors import NotFound, Refused
from kvmctl.plan.pci.choose import Chosen, Taste, choose, has_devices
from kvmctl.plan.pci.facts import Holder, Inventory
from kvmctl.plan.pci.system import Block
from kvmctl.spec.model.disk import Disk
from kvmctl.spec.model.network import Network
from kvmctl.spec.model.pci import Pci, selector
from kvmctl.spec.model.vm import Vm
from tests.plan.pci.world import device, has, host

CARD = "0000:3b:00.0"
FUNCTIONS = tuple(f"0000:3b:10.{number}" for number in range(3))
FAR, NEAR = "0000:41:00.0", "0000:81:00.0"
DEVICES = (
    device(CARD, virtual_functions=FUNCTIONS, most_virtual_functions=7, interfaces=("eth0",), link_up=True),
    *(device(address, group=10 + number, physical_function=CARD) for number, address in enumerate(FUNCTIONS)),
    device(FAR, "nvme", group=2, numa_node=0, serial="SN-0"),
    device(NEAR, "nvme", group=3, numa_node=1, serial="SN-1", blocks=("nvme1n1",)),
)
NONE = Taste()


def vm(*words: str, cards: tuple[str, ...] = (), **more: object) -> Vm:
    networks = tuple(Network(hostdev=card) for card in cards)
    return Vm(name="web1", pci=tuple(Pci(device=word) for word in words), networks=networks, **more)  # type: ignore[arg-type]


def chosen(*words: str, known: Inventory | None = None, taste: Taste = NONE, **more: object) -> Chosen:
    return choose(vm(*words, **more), known or host(*DEVICES), taste)  # type: ignore[arg-type]


def test_whoever_has_none_asks_for_none() -> None:
    assert not has_devices(Vm(name="web1", networks=(Network(network="default"),)))
    assert has_devices(vm("gpu"))
    assert has_devices(vm(cards=("vf_of:eth0",)))


@pytest.mark.parametrize(
    ("word", "address"),
    [
        (FAR, FAR),
        ("41:0.0", FAR),
        ("nvme", FAR),
        ("8086:10c9", CARD),
        ("eth0", CARD),
        ("/dev/nvme1n1", NEAR),
        ("serial:SN-1", NEAR),
        ("alias:fast0", NEAR),
        ("vf_of:eth0", FUNCTIONS[0]),
        ("vf_of:3b:00.0", FUNCTIONS[0]),
    ],
)
def test_one_by_what_it_is(word: str, address: str) -> None:
    found = chosen(word, taste=Taste(aliases={"fast0": "serial:SN-1"}))
    assert found.addresses == (address,)
    assert found.vm.pci == (Pci(address=address),)


def test_near_the_memory_then_unassigned_then_lowest() -> None:
    assert chosen("nvme", taste=Taste(nodes=frozenset({1}))).addresses == (NEAR,)
    kept = host(*DEVICES, holders={FAR: has("db1", running=False)})
    assert chosen("nvme", known=kept).addresses == (NEAR,)
    assert chosen("nvme", known=kept).picked == {NEAR}
    assert chosen("nvme", "nvme", known=kept).picked == {NEAR}
    assert chosen(NEAR, known=kept).picked == set()
    own = host(*DEVICES, holders={FAR: (Holder(vm="web1", uuid="own", running=False),)})
    assert chosen("nvme", known=own, taste=Taste(uuid="own")).addresses == (FAR,)
    [sentence] = chosen("nvme", taste=Taste(nodes=frozenset({1}))).sentences
    assert sentence.endswith("near its memory")


def test_nobody_loses_his_only_one_to_another() -> None:
    found = chosen("nvme", f"{FAR}")
    assert found.addresses == (NEAR, FAR)
    assert chosen("nvme", "serial:SN-0", "vf_of:eth0", FUNCTIONS[0]).addresses == (
        *(NEAR, FAR),
        *(FUNCTIONS[1], FUNCTIONS[0]),
    )


def test_several_and_cards() -> None:
    wanted = Vm(name="web1", pci=(Pci(vf_of="eth0", count=2),), networks=(Network(hostdev="vf_of:eth0"),))
    found = choose(wanted, host(*DEVICES), NONE)
    assert sorted(found.addresses) == sorted(FUNCTIONS)
    assert {entry.address for entry in found.vm.pci} | {found.vm.networks[0].hostdev} == set(FUNCTIONS)


def test_disks_that_are_whole_devices() -> None:
    wanted = Vm(name="web1", disks=(Disk(size=1), Disk(nvme="nvme"), Disk(nvme="serial:SN-0")))
    assert has_devices(wanted)
    found = choose(wanted, host(*DEVICES), NONE)
    assert [disk.nvme for disk in found.vm.disks] == [None, NEAR, FAR]
    assert found.vm.pci == ()
    assert found.addresses == (NEAR, FAR)


def test_what_shares_its_group_goes_along() -> None:
    known = host(device("0000:41:00.0", "gpu"), device("0000:41:00.1", "audio"))
    found = chosen("gpu", known=known)
    assert [entry.address for entry in found.vm.pci] == ["0000:41:00.0", "0000:41:00.1"]
    assert "0000:41:00.1 goes along" in found.sentences[-1]


def test_too_few() -> None:
    busy = {address: has(f"vm{number}") for number, address in enumerate(FUNCTIONS)}
    with pytest.raises(Refused) as caught:
        chosen("vf_of:eth0", known=host(*DEVICES, holders=busy))
    assert caught.value.code == "device-not-free"
    assert "vm2 has it, and runs" in "\n".join(caught.value.details)
    with pytest.raises(Refused, match="of which 4 are asked for"):
        choose(Vm(name="web1", pci=(Pci(vf_of="eth0", count=4),)), host(*DEVICES), NONE)
    mounted = Block(name="nvme0n1", pci=FAR, mounts=("/",))
    with pytest.raises(Refused) as needed:
        chosen("nvme", "nvme", known=host(*DEVICES, blocks=(mounted,)))
    assert "/ is on nvme0n1" in "\n".join(needed.value.details)


@pytest.mark.parametrize(("word", "code"), [("gpu", "device-not-found"), ("10de:1eb8", "device-not-found")])
def test_none_of_that_kind(word: str, code: str) -> None:
    with pytest.raises(NotFound) as caught:
        chosen(word)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)


def test_names_that_nobody_has() -> None:
    for word in ("eth9", "serial:none", "vf_of:eth9", "3c:00.0"):
        with pytest.raises(NotFound):
            chosen(word)
    with pytest.raises(NotFound, match="it has fast0"):
        chosen("alias:slow", taste=Taste(aliases={"fast0": "gpu"}))


def test_a_card_without_functions() -> None:
    none = host(replace(DEVICES[0], virtual_functions=()), *DEVICES[4:])
    with pytest.raises(Refused) as caught:
        chosen("vf_of:eth0", known=none)
    assert caught.value.hint == "kvmctl pci vfs eth0 7"
    with pytest.raises(Refused, match="can have none"):
        chosen("vf_of:nvme1n1")


@pytest.mark.parametrize("word", ["3b:00", "serial:", "3b:00.", "0000:3b"])
def test_words_that_are_half(word: str) -> None:
    with pytest.raises(ValueError, match="write"):
        selector(word)
