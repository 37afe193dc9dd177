"""Mediated devices (mdevs): which ones a spec means, where new ones are made, what stands against one. Pure.

One that is there and that no VM has is taken first; else a new one is made on a device that has room for it. What the
host needs that device for is no obstacle, since it keeps it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmctl.errors import NotFound, Refused
from kvmctl.plan.migration.verdicts import blocker, note
from kvmctl.plan.pci.facts import Mdev
from kvmctl.plan.pci.find import find
from kvmctl.spec.model.mdev import is_uuid
from kvmctl.spec.model.pci import Pci, selector

if TYPE_CHECKING:
    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.choose import Taste
    from kvmctl.plan.pci.facts import Device, Inventory

LIST = "kvmctl pci mdev list shows which there are"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The mdevs for a VM. `there` are those that exist; `wanted` are to be made, or started, before the VM can run.

    `picked` are those that others may have been given at the same time, `sentences` say why these.
    """

    uuids: tuple[str, ...] = ()
    there: tuple[str, ...] = ()
    wanted: tuple[Mdev, ...] = ()
    picked: frozenset[str] = frozenset()
    sentences: tuple[str, ...] = ()


def mdev_of(entry: Pci, taste: Taste) -> str | None:
    """The type or the UUID that an entry means, by an alias as well; None for all other entries."""
    alias = taste.aliases.get(entry.alias or "")
    return entry.mdev or (selector(alias).mdev if alias else None)


def cut(words: Sequence[str], inventory: Inventory, taste: Taste) -> Cut:
    """An mdev for each of these types and UUIDs. Raises NotFound or Refused where there is none."""
    taken = {word for word in words if is_uuid(word)}
    spent: Counter[tuple[str, str]] = Counter()
    uuids, wanted, sentences = [], [], []
    picked: set[str] = set()
    for word in words:
        if is_uuid(word):
            mdev = known(inventory, word)
        else:
            _require_type(inventory, word)
            idle = [each for each in _idle(inventory, word, taste) if each.uuid not in taken]
            if idle:
                mdev = idle[0]
                sentences.append(f"mdev: {word} is {mdev.uuid}, of {mdev.parent}")
            else:
                device = parent(inventory, word, nodes=taste.nodes, spent=spent)
                spent[device.address, word] += 1
                mdev = Mdev(uuid=taste.new_uuid(), type=word, parent=device.address, active=False)
                sentences.append(f"mdev: {word} is {mdev.uuid}, made of {device.address}")
            taken.add(mdev.uuid)
            if not any(holder.uuid == taste.uuid for holder in inventory.holders.get(mdev.uuid, ())):
                picked.add(mdev.uuid)
        uuids.append(mdev.uuid)
        if mdev.uuid not in inventory.mdevs:
            wanted.append(replace(mdev, active=True, defined=True, autostart=True))
        elif not mdev.active:
            wanted.append(replace(mdev, active=True))
        elif not mdev.defined:
            sentences.append(f"{mdev.uuid} is gone when {inventory.host} boots: it is not defined there")
    return Cut(
        uuids=tuple(uuids),
        there=tuple(uuid for uuid in uuids if uuid in inventory.mdevs),
        wanted=tuple(wanted),
        picked=frozenset(picked),
        sentences=tuple(sentences),
    )


def known(inventory: Inventory, uuid: str) -> Mdev:
    """The one of that UUID. Raises NotFound."""
    found = inventory.mdevs.get(uuid)
    if found is None:
        raise NotFound("device-not-found", f"{inventory.host} has no mdev {uuid}", hint=LIST)
    return found


def parent(
    inventory: Inventory,
    kind: str,
    *,
    nodes: Collection[int] = (),
    address: str = "",
    spent: Counter[tuple[str, str]] | None = None,
) -> Device:
    """The device that a new mdev is made of: near these nodes, then of the lowest address; or the one that is named.

    `spent` are those that are going to be made, by device and type. Raises NotFound for a type that there is not, and
    Refused where there is no room for another.
    """
    devices = _require_type(inventory, kind)
    if address:
        named = find(inventory, address)
        devices = [device for device in devices if device.address == named]
        if not devices:
            has = ", ".join(each.id for each in inventory.devices[named].mdev_types) or "none"
            what = f"{named} cannot be cut into mdevs of the type {kind}; its types are {has}"
            raise Refused("device-not-free", what, hint=LIST)
    taken = spent or Counter()
    free = {device.address: sum(each.free for each in device.mdev_types if each.id == kind) for device in devices}
    room = [device for device in devices if free[device.address] > taken[device.address, kind]]
    if not room:
        raise Refused(
            "device-not-free",
            f"{address or inventory.host} has no room for another mdev of the type {kind}",
            hint="kvmctl pci mdev list shows who has which; kvmctl pci mdev delete UUID makes room",
        )
    return min(room, key=lambda device: (_is_far(device, nodes), device.address))


def check_mdev(inventory: Inventory, uuid: str, *, vm: str) -> Iterator[Finding]:
    """What stands against giving an mdev to a VM, of which `vm` is the UUID."""
    if uuid not in inventory.mdevs:
        hint = f"kvmctl pci mdev create TYPE --uuid {uuid} makes one; {LIST}"
        yield blocker("device-missing", f"{inventory.host} has no mdev {uuid}", hint, subject=uuid)
    for holder in inventory.holders.get(uuid, ()):
        if holder.uuid == vm:
            continue
        if holder.running:
            what = f"the mdev {uuid} cannot be given away: {holder.vm} has it, and runs"
            yield blocker("device-in-use", what, "detach it there first, or stop that VM", subject=uuid)
        else:
            what = f"the mdev {uuid} is assigned to {holder.vm}, too; only one of them can run with it"
            yield note("device-assigned", what, subject=uuid)


def own(inventory: Inventory, word: str, uuids: Collection[str]) -> str:
    """Of these mdevs of a VM the one that is meant by a UUID or a type; empty if there is none such, or several."""
    if is_uuid(word):
        return word
    found = [uuid for uuid in uuids if uuid in inventory.mdevs and inventory.mdevs[uuid].type == word]
    return found[0] if len(found) == 1 else ""


def _require_type(inventory: Inventory, kind: str) -> list[Device]:
    """The devices that have the type, by address. Raises NotFound if it is unknown, of devices and mdevs alike."""
    devices = [inventory.devices[address] for address in sorted(inventory.devices)]
    found = [device for device in devices if any(each.id == kind for each in device.mdev_types)]
    if not found and not any(mdev.type == kind for mdev in inventory.mdevs.values()):
        types = ", ".join(sorted({each.id for device in devices for each in device.mdev_types}))
        raise NotFound(
            "device-not-found",
            f"{inventory.host} has no mdevs of the type {kind}; {f'its types are {types}' if types else 'it has none'}",
            hint=LIST if types else "the driver of the device brings them; some need virtual functions first",
        )
    return found


def _idle(inventory: Inventory, kind: str, taste: Taste) -> list[Mdev]:
    """Those of a type that no other VM has, the best first: the VM's own, near its memory, kept over a boot."""

    def rank(mdev: Mdev) -> tuple[bool, bool, bool, str]:
        device = inventory.devices.get(mdev.parent)
        far = device is not None and _is_far(device, taste.nodes)
        return not inventory.holders.get(mdev.uuid), far, not mdev.defined, mdev.uuid

    others = (
        mdev
        for mdev in inventory.mdevs.values()
        if mdev.type == kind and all(holder.uuid == taste.uuid for holder in inventory.holders.get(mdev.uuid, ()))
    )
    return sorted(others, key=rank)


def _is_far(device: Device, nodes: Collection[int]) -> bool:
    return bool(nodes) and device.numa_node is not None and device.numa_node not in nodes
