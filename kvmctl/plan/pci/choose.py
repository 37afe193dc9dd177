"""Which devices of a host a spec's entries mean: by address, or by what they are. Pure.

Of several that fit, one near the VM's memory is taken, then one that no stopped VM counts on, then the lowest address;
and always so that every entry gets one, if that is possible at all: an entry for which few devices fit does not lose
its only one to another. What shares an IOMMU group with the one that is taken goes along with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from kvmctl.errors import NotFound, Refused
from kvmctl.plan.pci.classes import is_of
from kvmctl.plan.pci.find import find, names_of
from kvmctl.plan.pci.identity import Identity, identities
from kvmctl.plan.pci.mediated import cut, mdev_of
from kvmctl.plan.pci.verdict import verdict
from kvmctl.spec.model.pci import Pci, selector, spelled_out
from kvmctl.spec.plainly import to_plain

if TYPE_CHECKING:
    from kvmctl.plan.pci.facts import Device, Inventory, Mdev
    from kvmctl.spec.model.vm import Vm

OWN, SHARED = ("rom", "boot_order", "managed"), ("together", "guest_node")
"""Keys that say how the VM has a device, not which one: of it alone, and of what goes along with it too."""
TOLD = 5
"""How many of the devices that fit and are not free are named."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One device that is asked for: where in the spec, and which would do, the best first."""

    path: str
    entry: Pci
    said: str
    fits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The VM with an address for each of its devices, and a UUID for each mdev.

    `addresses` are all that are there, mdevs by UUID; `mdevs` are to be made, or started. `sentences` say why these,
    `identities` tell what they are, to know them again; `picked` are those that were picked of several, and that no
    other VM had. `homes` are the nodes of the host that they are on, where that is known.
    """

    vm: Vm
    addresses: tuple[str, ...] = ()
    mdevs: tuple[Mdev, ...] = ()
    identities: tuple[Identity, ...] = ()
    picked: frozenset[str] = frozenset()
    sentences: tuple[str, ...] = ()
    homes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Taste:
    """What makes one device better than another for this VM: `nodes` are those of its memory.

    `new_uuid` says what an mdev is to be called that must be made.
    """

    uuid: str = ""
    nodes: frozenset[int] = field(default_factory=frozenset)
    aliases: Mapping[str, str] = field(default_factory=dict)
    new_uuid: Callable[[], str] = field(default=lambda: str(uuid4()))


def has_devices(vm: Vm) -> bool:
    return bool(vm.pci) or any(card.hostdev for card in vm.networks) or any(disk.nvme for disk in vm.disks)


def choose(vm: Vm, inventory: Inventory, taste: Taste) -> Chosen:
    """Settle all entries of a spec. Raises NotFound or Refused where there are not enough devices. Mdevs come last."""
    given = [(mdev_of(entry, taste), entry.count or 1) for entry in map(spelled_out, vm.pci)]
    parts = cut([word for word, count in given if word for _ in range(count)], inventory, taste)
    wanted = list(_wanted(vm, inventory, taste))
    found = matched(inventory, wanted)
    sentences = [_why(inventory, one, address, taste) for one, address in zip(wanted, found) if not _named(one)]
    cards, disks, entries = list(vm.networks), list(vm.disks), []
    along: dict[str, Pci] = {}
    for one, address in zip(wanted, found):
        kind, _, rest = one.path.partition("[")
        index = int(rest.partition("]")[0])
        if kind == "networks":
            cards[index] = replace(cards[index], hostdev=address)
            continue
        if kind == "disks":
            disks[index] = replace(disks[index], nvme=address)
            continue
        entries.append(Pci(address=address, **{name: getattr(one.entry, name) for name in (*OWN, *SHARED)}))
        shared = {name: getattr(one.entry, name) for name in SHARED}
        for other in _along(inventory, one.entry, address):
            if other not in (*found, *along):
                along[other] = Pci(address=other, **shared)
    entries += [*along.values(), *(Pci(mdev=uuid) for uuid in parts.uuids)]
    if along:
        sentences.append(f"{', '.join(along)} goes along, of the same IOMMU group")
    return Chosen(
        vm=replace(vm, pci=tuple(entries), networks=tuple(cards), disks=tuple(disks)),
        addresses=(*found, *along, *parts.there),
        mdevs=parts.wanted,
        picked=parts.picked.union(
            address
            for one, address in zip(wanted, found)
            if not _named(one) and not any(_others(inventory, address, taste))
        ),
        identities=identities(inventory, (*found, *along)),
        sentences=(*sentences, *parts.sentences),
        homes={
            address: node for address in (*found, *along) if (node := inventory.devices[address].numa_node) is not None
        },
    )


def candidates(inventory: Inventory, entry: Pci, taste: Taste) -> list[Device]:
    """The devices that an entry may mean, free or not, by address."""
    if entry.alias:
        meant = taste.aliases.get(entry.alias)
        if meant is None:
            known = ", ".join(taste.aliases) or "none"
            raise NotFound(
                "device-not-found",
                f"config.yaml has no device '{entry.alias}' for {inventory.host}; it has {known}",
                hint="write it below devices: of the host's entry",
            )
        if selector(meant).mdev:
            what = f"{entry.alias} is {meant}, which is no device as a whole"
            raise Refused("device-not-free", what, hint="give it by pci:, or take another device")
        return candidates(inventory, selector(meant), taste)
    if entry.address:
        return [inventory.devices[find(inventory, entry.address)]]
    if entry.name or entry.serial:
        return [inventory.devices[find(inventory, entry.name or entry.serial or "")]]
    devices = [inventory.devices[address] for address in sorted(inventory.devices)]
    if entry.vf_of:
        card = inventory.devices[find(inventory, entry.vf_of)]
        if not card.most_virtual_functions:
            what = f"{entry.vf_of} ({card.address}) has no virtual functions, and can have none"
            raise Refused("device-not-free", what, hint="name another card: kvmctl pci list --class nic")
        if not card.virtual_functions:
            what = f"{entry.vf_of} ({card.address}) has no virtual functions yet"
            raise Refused("device-not-free", what, hint=f"kvmctl pci vfs {entry.vf_of} {card.most_virtual_functions}")
        devices = [inventory.devices[address] for address in card.virtual_functions if address in inventory.devices]
    return [device for device in devices if _fits(device, entry)]


def matched(inventory: Inventory, wanted: Sequence[Wanted]) -> list[str]:
    """A device for each, none twice: augmenting paths, those with the fewest choices first."""
    taken: dict[str, int] = {}

    def place(index: int, seen: set[str]) -> bool:
        for address in wanted[index].fits:
            if address in seen:
                continue
            seen.add(address)
            if address not in taken or place(taken[address], seen):
                taken[address] = index
                return True
        return False

    for index in sorted(range(len(wanted)), key=lambda number: len(wanted[number].fits)):
        if not place(index, set()):
            raise _too_few(inventory, wanted, wanted[index])
    found = {index: address for address, index in taken.items()}
    alike: dict[str, Iterator[str]] = {}
    for path in {one.path for one in wanted}:
        alike[path] = iter(sorted(found[index] for index, one in enumerate(wanted) if one.path == path))
    return [next(alike[one.path]) for one in wanted]


def _along(inventory: Inventory, entry: Pci, address: str) -> tuple[str, ...]:
    """What goes along with a device. Whoever names an address means that alone, and together the rest of its slot."""
    along = verdict(inventory, address).along
    if not entry.address:
        return along
    slot = inventory.devices[address].slot
    return tuple(other for other in along if entry.together and inventory.devices[other].slot == slot)


def _wanted(vm: Vm, inventory: Inventory, taste: Taste) -> Iterator[Wanted]:
    spelled = [(f"pci[{index}]", spelled_out(entry)) for index, entry in enumerate(vm.pci)]
    entries = [(path, entry) for path, entry in spelled if not mdev_of(entry, taste)]
    entries += [
        (f"networks[{index}].hostdev", selector(card.hostdev)) for index, card in enumerate(vm.networks) if card.hostdev
    ]
    entries += [(f"disks[{index}].nvme", selector(disk.nvme)) for index, disk in enumerate(vm.disks) if disk.nvme]
    for path, entry in entries:
        said = _said(entry)
        fits = [device for device in candidates(inventory, entry, taste) if _possible(inventory, device, entry)]
        fits.sort(key=lambda device: _rank(inventory, device, taste))
        for _ in range(entry.count or 1):
            yield Wanted(path=path, entry=entry, said=said, fits=tuple(device.address for device in fits))


def _said(entry: Pci) -> str:
    plain = to_plain(replace(entry, count=None, **dict.fromkeys((*OWN, *SHARED))))
    return ", ".join(f"{key}: {value}" for key, value in plain.items())


def _fits(device: Device, entry: Pci) -> bool:
    return (
        (not entry.vendor or entry.vendor == device.vendor)
        and (not entry.product or entry.product == device.product)
        and (not entry.class_ or is_of(device.class_code, entry.class_))
    )


def _named(one: Wanted) -> bool:
    """It is this very device, whatever else there is; whether it can be had is the guard's to say."""
    return bool(one.entry.address or one.entry.name or one.entry.serial or one.entry.alias)


def _possible(inventory: Inventory, device: Device, entry: Pci) -> bool:
    if entry.address or entry.name or entry.serial or entry.alias:
        return True
    return verdict(inventory, device.address).free


def _rank(inventory: Inventory, device: Device, taste: Taste) -> tuple[bool, bool, str]:
    far = bool(taste.nodes) and device.numa_node is not None and device.numa_node not in taste.nodes
    return far, any(_others(inventory, device.address, taste)), device.address


def _others(inventory: Inventory, address: str, taste: Taste) -> Iterator[str]:
    """The other VMs that count on it."""
    return (holder.vm for holder in inventory.holders.get(address, ()) if holder.uuid != taste.uuid)


def _why(inventory: Inventory, one: Wanted, address: str, taste: Taste) -> str:
    device = inventory.devices[address]
    what = device.product_name or next(names_of(device), "")
    near = ", near its memory" if taste.nodes and device.numa_node in taste.nodes else ""
    return f"{one.said} is {address}{f' ({what})' if what else ''}{near}"


def _too_few(inventory: Inventory, wanted: Sequence[Wanted], one: Wanted) -> NotFound | Refused:
    """Why there is none for this one."""
    same = [each for each in wanted if each.said == one.said]
    all_of_them = candidates(inventory, replace(one.entry, count=None), Taste())
    if not all_of_them:
        return NotFound(
            "device-not-found",
            f"{inventory.host} has no device that is {one.said}",
            hint="kvmctl pci list shows which there are",
        )
    count = f", of which {len(same)} are asked for" if len(same) > 1 else ""
    lines = []
    for device in all_of_them[:TOLD]:
        judged = verdict(inventory, device.address)
        why = f": {judged.reason}" if judged.reason else ""
        lines.append(f"  {device.address} is {judged.word}{why}")
    if len(all_of_them) > TOLD:
        lines.append(f"  and {len(all_of_them) - TOLD} more")
    return Refused(
        "device-not-free",
        f"{inventory.host} has no free device left that is {one.said}{count}",
        hint="free one of these, or name another: kvmctl pci list --free",
        details=lines,
    )
