"""What a host needs of its devices, and why: from every use downwards to the hardware that carries it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from kvmctl.plan.pci.facts import Need

if TYPE_CHECKING:
    from kvmctl.plan.pci.facts import Device
    from kvmctl.plan.pci.system import Block, Interface, System

LAYERS = {"raid": "raid", "lvm": "lvm", "crypt": "crypt", "multipath": "multipath", "mapped": "block", "other": "block"}
LAYERS |= {"loop": "block"}
"""Codes of what a block device is claimed for by being part of another."""
LESSER = ("claimed", "unseen")
"""Codes that go without saying where it is known what has a disk."""
KINDS = {"bridge": "bridge", "bond": "bond"}


def needs(system: System, devices: Mapping[str, Device]) -> dict[str, tuple[Need, ...]]:
    """The needs by address. What a virtual function carries, its physical function carries too."""
    found = _carried_by("pci", system)
    for address in system.screens:
        _add(found, address, "screen", "it shows the host's console")
    for address in system.hidden:
        _add(found, address, "hidden", HIDDEN)
    return carried(_by_weight(_opened(found, system.openers)), devices)


def usb_needs(system: System, hidden: Iterable[str] = ()) -> dict[str, tuple[Need, ...]]:
    """The needs by port; `hidden` are network cards whose interfaces are not to be seen."""
    found = _carried_by("usb", system)
    for port in hidden:
        _add(found, port, "hidden", HIDDEN)
    return _by_weight(_opened(found, system.usb_openers))


def scsi_needs(system: System) -> dict[str, tuple[Need, ...]]:
    """The needs by the addresses of SCSI devices."""
    return _by_weight(_opened(_carried_by("scsi", system), system.scsi_openers))


def block_needs(system: System, name: str) -> tuple[Need, ...]:
    """What the host does with one block device, with what is made of it, and with the disk that it is a part of.

    Whatever else lies on the same disks does not matter: a logical volume may lie where the host runs from.
    """
    found: _Found = {}
    over = _above(system.blocks)
    for block, chain in made_of(system, name):
        for code, sentence in _block_uses(block, over.get(block.name, ())):
            _add(found, name, code, f"{sentence}{_on(chain)}")
    part = system.blocks.get(name)
    for whole in part.below if part is not None and part.layer == "partition" else ():
        if whole in system.blocks:
            for code, sentence in _block_uses(system.blocks[whole], over.get(whole, ())):
                _add(found, name, code, f"{sentence}, of which {name} is a part")
    return _by_weight(found).get(name, ())


def made_of(system: System, name: str) -> Iterator[tuple[Block, tuple[str, ...]]]:
    """A block device and all that is made of it, each with the names on the way down to it. Loops end."""
    over = _above(system.blocks)
    left: list[tuple[Block, tuple[str, ...]]] = [(system.blocks[name], ())] if name in system.blocks else []
    seen: set[str] = set()
    while left:
        block, chain = left.pop()
        if block.name not in seen:
            seen.add(block.name)
            yield block, chain
            left += [(upper, (block.label or block.name, *chain)) for upper in over.get(block.name, ())]


HIDDEN = "its network interface is not to be seen; another network namespace may use it"
Bus = Literal["pci", "usb", "scsi"]
_Found = dict[str, dict[tuple[str, str], Need]]


def _add(found: _Found, device: str, code: str, sentence: str) -> None:
    if device:
        found.setdefault(device, {}).setdefault((code, sentence), Need(code=code, sentence=sentence))


def _carried_by(bus: Bus, system: System) -> _Found:
    """What is used of the block devices and interfaces that devices of a bus carry."""
    found: _Found = {}
    above = _above(system.blocks)
    for block in system.blocks.values():
        for code, sentence in _block_uses(block, above.get(block.name, ())):
            for device, chain in _hardware(system.blocks, block, bus):
                _add(found, device, code, f"{sentence}{_on(chain)}")
    over = _above(system.interfaces)
    for card in system.interfaces.values():
        for code, sentence in _card_uses(card, over.get(card.name, ())):
            for device, chain in _hardware(system.interfaces, card, bus):
                _add(found, device, code, f"{sentence}{_on(chain)}")
    return found


def _opened(found: _Found, openers: Mapping[str, tuple[str, ...]]) -> _Found:
    for device, names in openers.items():
        _add(found, device, "process", f"{', '.join(names)} has it open")
    return found


def _by_weight(found: _Found) -> dict[str, tuple[Need, ...]]:
    return {device: _told(told.values()) for device, told in found.items()}


def carried(needs: Mapping[str, tuple[Need, ...]], devices: Mapping[str, Device]) -> dict[str, tuple[Need, ...]]:
    """With what a need of one device is for others: the card of a function, and controllers that it is behind."""
    found = {address: list(told) for address, told in needs.items()}
    for address, told in needs.items():
        for above, how in _carriers(address, devices):
            found.setdefault(above, []).extend(
                Need(code=need.code, sentence=f"{need.sentence}, {how} {address}") for need in told
            )
    return {address: _told(dict.fromkeys(told)) for address, told in found.items()}


def _carriers(address: str, devices: Mapping[str, Device]) -> Iterator[tuple[str, str]]:
    """Devices that are lost together with this one, and what it is to them. Bridges are never given away."""
    left, seen = [address], {address}
    while left:
        device = devices.get(left.pop())
        if device is None:
            continue
        for above, how in ((device.physical_function, "by its function"), (device.parent, "on")):
            if above in devices and above not in seen:
                seen.add(above)
                left.append(above)
                if not devices[above].is_bridge:
                    yield above, how


ORDER = ("connection", "mounted", "swap", "route", "address", "screen")
"""What is worth being told first."""


def _told(needs: Iterable[Need]) -> tuple[Need, ...]:
    """The most important first. That something has a disk for itself goes without saying where it is known what."""
    known = any(need.code in ("mounted", "swap", *LAYERS.values()) for need in needs)
    return tuple(sorted((need for need in needs if not (known and need.code in LESSER)), key=_weight))


def _weight(need: Need) -> tuple[int, str, str]:
    return (ORDER.index(need.code) if need.code in ORDER else len(ORDER), need.code, need.sentence)


def _above(things: Mapping[str, Block] | Mapping[str, Interface]) -> dict[str, list[Any]]:
    """What each is a part of."""
    found: dict[str, list[Any]] = {}
    for thing in things.values():
        for name in thing.below:
            found.setdefault(name, []).append(thing)
    return found


def _block_uses(block: Block, above: Iterable[Block]) -> Iterator[tuple[str, str]]:
    name = block.label or block.name
    for place in block.mounts:
        yield "mounted", f"{place} is on {name}"
    if block.swap:
        yield "swap", f"it swaps to {name}"
    for vm in block.vms:
        yield "vm-disk", f"{vm} has {name} as a disk"
    for who in block.openers:
        yield "process", f"{who} has {name} open"
    for upper in above:
        if upper.layer != "partition":
            yield LAYERS.get(upper.layer, "block"), f"{upper.label or upper.name} is made of {name}"
    if block.claimed is None:
        yield "unseen", f"whether something has {name} for itself, only root can tell"
    elif block.claimed:
        yield "claimed", f"something of the host has {name} for itself"


def _card_uses(card: Interface, above: Iterable[Interface]) -> Iterator[tuple[str, str]]:
    if card.connection:
        yield "connection", f"this connection comes through {card.name}"
    if card.default_route:
        yield "route", f"the default route goes through {card.name}"
    if card.addresses:
        yield "address", f"{card.name} has the address {', '.join(card.addresses)}"
    for vm in card.vms:
        yield "vm-network", f"{vm} is on {card.name}"
    if card.elsewhere:
        yield "hidden", f"{card.name} is up, and may be used by another network namespace"
    for upper in above:
        if upper.kind in KINDS:
            yield KINDS[upper.kind], f"{card.name} is part of {upper.name}"


def _hardware(
    things: Mapping[str, Block] | Mapping[str, Interface], top: Block | Interface, bus: Bus
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every device that carries it, with the names on the way down. Loops end."""
    left: list[tuple[Block | Interface, tuple[str, ...]]] = [(top, ())]
    seen: set[str] = set()
    while left:
        thing, chain = left.pop()
        if thing.name in seen:
            continue
        seen.add(thing.name)
        device = getattr(thing, bus, "")  # no interface hangs on a SCSI device
        if device:
            yield device, chain
        for name in thing.below:
            if name in things:
                below = things[name]
                left.append((below, (*chain, getattr(below, "label", "") or below.name)))


def _on(chain: tuple[str, ...]) -> str:
    return "".join(f", on {name}" for name in chain)
