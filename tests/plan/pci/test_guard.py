"""The guard, case by case: each finding seeded alone into a host where nothing is in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmctl.errors import Impossible, NotFound
from kvmctl.plan.pci.facts import Inventory, Iommu
from kvmctl.plan.pci.guard import check, refusal
from kvmctl.plan.pci.listing import explained, listed
from kvmctl.plan.pci.system import Block, Interface
from kvmctl.plan.pci.verdict import verdict
from tests.plan.pci.world import IOMMU, device, has, host

A, B, C = "0000:3b:00.0", "0000:3b:00.1", "0000:3c:00.0"
VF = "0000:3b:10.0"
MOUNTED = Block(name="nvme0n1", pci=A, mounts=("/",))
PF = device(A, virtual_functions=(VF,), most_virtual_functions=7, interfaces=("eth0",), link_up=True)
FUNCTION = device(VF, group=2, physical_function=A, driver="igbvf")


def lacking(**what: object) -> Inventory:
    return host(device(A), iommu=replace(IOMMU, **what))  # type: ignore[arg-type]


SEEDS: dict[str, tuple[str, Inventory]] = {
    "device-missing": ("blocker", host()),
    "device-gone": ("blocker", host(device(A, vendor="ffff"))),
    "device-board": ("blocker", host(device(A, "bridge"))),
    "host-needs-device": ("blocker", host(device(A, "nvme"), blocks=(MOUNTED,))),
    "device-in-use": ("blocker", host(device(A), holders={A: has("web2")})),
    "device-assigned": ("note", host(device(A), holders={A: has("web2", running=False)})),
    "group-not-whole": ("blocker", host(device(A, "gpu"), device(B, "audio"))),
    "group-needed": ("blocker", host(device(A, "gpu"), device(B, "nvme"), blocks=(replace(MOUNTED, pci=B),))),
    "group-needed: the board's": ("blocker", host(device(A, "sata"), device(B, "isa", driver="lpc_ich"))),
    "group-in-use": ("blocker", host(device(A), device(B, driver="vfio-pci"), holders={B: has("web2")})),
    "iommu-off": ("blocker", lacking(enabled=False)),
    "iommu-bypassed": ("blocker", lacking(no_iommu=True)),
    "unsafe-interrupts": ("warning", lacking(interrupt_remapping=False, unsafe_interrupts=True)),
    "not-privileged": ("blocker", lacking(privileged=False)),
    "no-group": ("blocker", host(device(A, group=None))),
    "unwilling-driver": ("warning", host(device(A, "gpu", driver="amdgpu"))),
    "option-rom": ("warning", host(device(A, "gpu", driver="vfio-pci", boot_vga=True))),
    "interrupt-remapping": ("blocker", lacking(interrupt_remapping=False, unsafe_interrupts=False)),
    "vfio-missing": ("blocker", lacking(vfio=False)),
    "locked-memory": ("blocker", lacking(locked_memory=1 << 20)),
    "no-reset": ("warning", host(device(A, resets=()))),
    "vfs-lost": ("warning", host(PF, FUNCTION)),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_obstacle_is_found_and_nothing_else(seed: str) -> None:
    verdict_, inventory = SEEDS[seed]
    code = seed.partition(":")[0]
    found = check(inventory, [A], uuid="uuid of web1", memory=1 << 30)
    assert [(finding.code, finding.verdict) for finding in found] == [(code, verdict_)]
    assert found[0].what
    assert found[0].hint or found[0].verdict == "note"


def test_nothing_is_in_the_way_of_a_free_device() -> None:
    for free in (
        host(device(A)),
        host(device(A), device(B, "bridge")),
        host(device(A), device(B, "isa", driver="")),
        host(device(A), device(B, driver="")),
        host(device(A), device(B, driver="vfio-pci")),
        host(device(A, driver="vfio-pci"), holders={A: has("web1")}),
        host(device(A), iommu=Iommu()),
    ):
        assert check(free, [A], uuid="uuid of web1") == ()


def test_a_group_that_goes_as_a_whole() -> None:
    both = host(device(A, "gpu"), device(B, "audio"))
    assert check(both, [A, B]) == ()
    [finding] = check(both, [A])
    assert f"{A} {B}" in finding.hint
    judged = verdict(both, A)
    assert (judged.word, judged.along) == ("free-with-group", (B,))


def test_only_the_very_device_that_is_named_is_taken_from_the_host() -> None:
    needed = host(device(A, "nvme"), blocks=(MOUNTED,))
    [forced] = check(needed, [A], forced={A})
    assert (forced.code, forced.verdict) == ("host-needs-device", "warning")
    [refused] = check(needed, [A], forced={B})
    assert refused.verdict == "blocker"
    assert f"--force-host-device {A}" in refused.hint
    companion = host(device(A, "gpu"), device(B, "nvme"), blocks=(replace(MOUNTED, pci=B),))
    assert [each.code for each in check(companion, [A], forced={A})] == ["group-needed"]


def test_the_same_device_twice() -> None:
    assert [each.code for each in check(host(device(A)), [A, A])] == ["device-twice"]


def test_a_function_whose_card_is_down() -> None:
    down = host(replace(PF, link_up=False), FUNCTION)
    [finding] = check(down, [VF])
    assert (finding.code, finding.verdict, finding.hint) == ("pf-down", "warning", "ip link set eth0 up")
    assert check(host(PF, FUNCTION), [VF]) == ()


def test_a_card_with_functions_that_vms_have() -> None:
    busy = host(PF, FUNCTION, holders={VF: has("web2")})
    assert {each.code for each in check(busy, [A]) if each.verdict == "blocker"} == {"vfs-in-use"}
    assert verdict(busy, A).word == "in-use"


def test_what_a_function_carries_the_card_carries_too() -> None:
    used = host(PF, FUNCTION, cards=(Interface(name="eth0v0", pci=VF, addresses=("10.0.0.1",)),))
    assert [need.code for need in used.needs[A]] == ["address"]
    assert VF in used.needs[A][0].sentence
    assert verdict(used, A).word == verdict(used, VF).word == "needed"


def test_the_console() -> None:
    screen = host(device(A, "gpu", boot_vga=True), screens=frozenset({A}))
    assert [each.code for each in check(screen, [A])] == ["host-needs-device"]
    assert {each.code for each in check(screen, [A], forced={A})} == {"host-needs-device", "option-rom"}


def test_the_reason_names_what_lies_between() -> None:
    chain = (
        Block(name="nvme0n1", pci=A),
        Block(name="nvme0n1p2", layer="partition", below=("nvme0n1",)),
        Block(name="md0", layer="raid", below=("nvme0n1p2",)),
        Block(name="dm-0", layer="lvm", label="vg0-root", below=("md0",), mounts=("/",)),
    )
    found = host(device(A, "nvme"), blocks=chain).needs[A]
    assert found[0].sentence == "/ is on vg0-root, on md0, on nvme0n1p2, on nvme0n1"


def test_verdicts_without_an_iommu() -> None:
    assert verdict(host(device(A, group=None), iommu=Iommu(enabled=False)), A).word == "not-assignable"
    assert verdict(host(device(A, group=None), iommu=Iommu()), A).word == "free"


def test_what_is_listed() -> None:
    known = host(
        device(A, "nvme", numa_node=1, vendor_name="Acme"), device(C, group=3), blocks=(replace(MOUNTED, pci=C),)
    )
    assert [item["address"] for item in listed(known)] == [A, C]
    assert [item["address"] for item in listed(known, free=True)] == [A]
    assert [item["address"] for item in listed(known, kind="nic")] == [C]
    assert [item["address"] for item in listed(known, vendor="acme", node=1)] == [A]
    assert listed(known, vendor="10de") == []
    [user] = listed(known)[1]["used_by"]
    assert (user["by"], user["code"], user["reason"]) == ("host", "mounted", "/ is on nvme0n1")
    told = explained(known, C)
    assert [member["address"] for member in told["group"]] == [C]
    assert told["findings"][0]["code"] == "host-needs-device"


def test_ten_thousand_devices() -> None:
    many = host(*(device(f"{number >> 8:04x}:{number & 0xFF:02x}:00.0", group=number // 4) for number in range(10_000)))
    found = listed(many)
    assert len(found) == 10_000
    assert {item["verdict"] for item in found} == {"free-with-group"}


def test_a_card_and_its_functions_never_go_together() -> None:
    both = check(host(PF, FUNCTION), [A, VF])
    assert [each.code for each in both if each.verdict == "blocker"] == ["pf-and-vf"]
    shared = host(PF, replace(FUNCTION, group=1))
    for address in (A, VF):
        assert "pf-and-vf" in [each.code for each in check(shared, [address])]
        assert verdict(shared, address).word == "not-assignable"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({}, "switch on VT-d in the firmware's setup, and boot with intel_iommu=on iommu=pt"),
        ({"firmware": True}, "boot with intel_iommu=on iommu=pt on the kernel's command line"),
        ({"kernel": "intel_iommu=on iommu=pt"}, "switch on VT-d in the firmware's setup"),
        ({"kernel": "quiet intel_iommu=off"}, "take intel_iommu=off away"),
        ({"processor": "amd", "firmware": True}, "boot with iommu=pt on"),
        ({"processor": ""}, "VT-d (Intel) or AMD-Vi (AMD)"),
        ({"no_iommu": True}, "enable_unsafe_noiommu_mode"),
    ],
)
def test_how_an_iommu_comes_into_use(change: dict[str, object], hint: str) -> None:
    [finding] = check(lacking(enabled=False, **change), [A])
    assert hint in finding.hint


def test_what_is_let_be_at_no_cost() -> None:
    bound = host(device(A, driver="vfio-pci"), iommu=replace(IOMMU, privileged=False))
    assert check(bound, [A]) == ()
    assert check(host(device(A, "gpu", driver="vfio-pci", boot_vga=True)), [A], roms={A}) == ()
    [odd] = [each.code for each in check(host(device(A, class_code=0x060100)), [A])]
    assert odd == "device-board"
    assert check(host(device(A, class_code=0x068000)), [A]) == ()


def test_functions_that_are_reset_together() -> None:
    pair = host(device(A, resets=(), parent="0000:3a:00.0"), device(B, group=2, resets=()))
    [finding] = check(pair, [A])
    assert "with the 1 other on its bus" in finding.what
    assert finding.hint.startswith("give all of them together")


def test_an_mdev_is_a_use_of_its_device() -> None:
    [holder] = has("web2")
    cut = host(device(A), holders={A: (replace(holder, through="mdev 1234"),)})
    assert "web2 has it (mdev 1234)" in check(cut, [A])[0].what


def test_all_blockers_are_one_error() -> None:
    assert refusal(check(host(device(A)), [A])) is None
    gone = refusal(check(host(), [A, B]), vm="web1")
    assert isinstance(gone, NotFound)
    assert (gone.code, gone.vm, len(gone.details)) == ("device-not-found", "web1", 1)
    several = refusal(check(lacking(vfio=False), [A, A, B]))
    assert isinstance(several, Impossible)
    assert several.code == "device-refused"
    assert [reason["code"] for reason in several.reasons] == ["device-twice", "vfio-missing", "device-missing"]
    assert several.message == "these devices cannot be given to a VM, for 3 reasons"
    single = refusal(check(lacking(vfio=False), [A]))
    assert single is not None
    assert single.hint.startswith("modprobe vfio-pci")
