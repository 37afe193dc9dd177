"""The guard over hosts made at random: it never gives away what a host needs, and refuses little else.

What a host needs is known from how it was made: whatever is built carries the set of hardware below it, and using it
uses them all. That is another way than the guard's own, which walks down from each use. See one again: Host(SEED).
"""

from __future__ import annotations

from random import Random

import pytest

from kvmctl.plan.pci.facts import Device, Holder
from kvmctl.plan.pci.guard import check
from kvmctl.plan.pci.system import Block, Interface
from kvmctl.plan.pci.verdict import verdict
from tests.plan.pci import world

HOSTS = 600
LAYERS = ("raid", "lvm", "crypt", "multipath", "mapped")


class Host:
    """One host; `used` are the addresses that it cannot do without, `taken` those that running VMs have."""

    def __init__(self, seed: int) -> None:
        self.draw = Random(seed)
        self.devices: dict[str, Device] = {}
        self.blocks: dict[str, Block] = {}
        self.cards: dict[str, Interface] = {}
        self.below: dict[str, frozenset[str]] = {}
        self.used: set[str] = set()
        self.taken: set[str] = set()
        self.groups: dict[int, set[str]] = {}
        self._hardware()
        self._storage()
        self._network()
        self._vms()
        # A physical function goes with its functions.
        for address, device in self.devices.items():
            if device.physical_function and address in self.used:
                self.used.add(device.physical_function)
        self.inventory = world.host(
            *self.devices.values(),
            blocks=tuple(self.blocks.values()),
            cards=tuple(self.cards.values()),
            holders={address: (Holder(vm="vm", uuid="vm", running=True),) for address in self.taken},
        )

    def _add(self, kind: str, group: int, **more: object) -> str:
        address = f"0000:{len(self.devices) + 1:02x}:00.0"
        self.devices[address] = world.device(address, kind, group=group, **more)
        self.groups.setdefault(group, set()).add(address)
        return address

    def _hardware(self) -> None:
        draw, group = self.draw, 0
        for _ in range(draw.randint(3, 9)):
            group += 1
            # Without ACS several devices share a group, and bridges do.
            for _ in range(draw.choice((1, 1, 1, 2, 3))):
                kind = draw.choice(("nvme", "nvme", "nic", "nic", "sata", "usb", "gpu", "audio", "bridge", "smbus"))
                address = self._add(kind, group, **({"driver": "vfio-pci"} if draw.random() < 0.1 else {}))
                if kind == "nic" and draw.random() < 0.4:
                    group += 1
                    functions = [
                        self._add("nic", group + number, physical_function=address, driver="igbvf")
                        for number in range(draw.randint(1, 3))
                    ]
                    group += len(functions)
                    self.devices[address] = world.device(
                        *(address, "nic"),
                        group=self.devices[address].group,
                        virtual_functions=tuple(functions),
                        link_up=True,
                    )

    def _storage(self) -> None:
        draw = self.draw
        number = 0
        for address, device in list(self.devices.items()):
            if device.driver in ("nvme", "ahci", "xhci_hcd"):
                for _ in range(1 if device.driver == "nvme" else draw.randint(0, 3)):
                    number += 1
                    disk = self._block(f"disk{number}", (), pci=address)
                    for part in range(draw.randint(0, 3)):
                        self._block(f"disk{number}p{part + 1}", (disk,), layer="partition")
        for layer in range(draw.randint(0, 6)):
            members = draw.sample(sorted(self.blocks), min(len(self.blocks), draw.randint(1, 3)))
            if members:
                # What is a member of something is claimed, whether that is used or not.
                for member in members:
                    self.used |= self.below[member]
                self._block(f"layer{layer}", tuple(members), layer=draw.choice(LAYERS))
        for name in sorted(self.blocks):
            use = draw.choice(("mounts", "swap", "claimed", "vms", None, None, None, None, None))
            if use is not None and not (use == "claimed" and self.blocks[name].layer == "partition"):
                value = True if use in ("swap", "claimed") else ("/srv",)
                known = self.blocks[name]
                values = {"name": name, "pci": known.pci, "layer": known.layer, "below": known.below, use: value}
                self.blocks[name] = Block(**values)  # type: ignore[arg-type]
                self.used |= self.below[name]

    def _block(self, name: str, below: tuple[str, ...], *, pci: str = "", layer: str = "disk") -> str:
        self.blocks[name] = Block(name=name, pci=pci, layer=layer, below=below)  # type: ignore[arg-type]
        self.below[name] = frozenset({pci} - {""}).union(*(self.below[each] for each in below))
        return name

    def _network(self) -> None:
        draw = self.draw
        for address, device in list(self.devices.items()):
            if device.driver in ("igb", "igbvf"):
                self._card(f"eth{len(self.cards)}", (), pci=address)
        for number in range(draw.randint(0, 5)):
            if not self.cards:
                break
            kind = draw.choice(("bridge", "bond", "vlan", "macvlan"))
            count = 1 if kind in ("vlan", "macvlan") else draw.randint(1, min(3, len(self.cards)))
            parts = tuple(draw.sample(sorted(self.cards), count))
            if kind in ("bridge", "bond"):
                for part in parts:
                    self.used |= self.below[part]
            self._card(f"{kind}{number}", parts, kind=kind)
        for name in sorted(self.cards):
            use = draw.choice(("addresses", "default_route", "connection", "vms", None, None, None, None))
            if use is not None:
                known = self.cards[name]
                value = ("10.0.0.1",) if use in ("addresses", "vms") else True
                values = {"name": name, "pci": known.pci, "kind": known.kind, "below": known.below, use: value}
                self.cards[name] = Interface(**values)  # type: ignore[arg-type]
                self.used |= self.below[name]

    def _card(self, name: str, below: tuple[str, ...], *, pci: str = "", kind: str = "") -> None:
        self.cards[name] = Interface(name=name, pci=pci, kind=kind, below=below)
        self.below[name] = frozenset({pci} - {""}).union(*(self.below[each] for each in below))

    def _vms(self) -> None:
        free = sorted(set(self.devices) - self.used)
        self.taken = set(self.draw.sample(free, min(len(free), self.draw.randint(0, 2))))

    def may_go(self, address: str) -> bool:
        """Whether a VM can have it alone, for all that is known of how the host was made."""
        device = self.devices[address]
        with_it = {address, *device.virtual_functions}
        others = {other for other in self.groups[device.group or 0] if not self.devices[other].is_bridge} - {address}
        bound = {other for other in others if self.devices[other].driver not in ("", "vfio-pci")}
        lost = with_it & (self.used | self.taken)
        return not (device.is_bridge or lost or bound or others & (self.used | self.taken))

    def blocked(self, address: str) -> bool:
        return any(finding.verdict == "blocker" for finding in check(self.inventory, [address]))


@pytest.mark.parametrize("seed", range(0, HOSTS, 50))
def test_what_a_host_needs_is_never_given_away(seed: int) -> None:
    for number in range(seed, seed + 50):
        host = Host(number)
        for address in host.devices:
            assert host.blocked(address) is not host.may_go(address), f"Host({number}), {address}"
            free = verdict(host.inventory, address).free
            assert free or not host.may_go(address), f"Host({number}), {address}"
            if free:
                assert not {address, *host.devices[address].virtual_functions} & (host.used | host.taken)


@pytest.mark.parametrize("seed", range(0, HOSTS, 100))
def test_whole_groups_go_or_stay(seed: int) -> None:
    for number in range(seed, seed + 100):
        host = Host(number)
        for members in host.groups.values():
            group = sorted(one for one in members if not host.devices[one].is_bridge)
            if not group:
                continue
            blocked = any(finding.verdict == "blocker" for finding in check(host.inventory, group))
            functions = {function for one in group for function in host.devices[one].virtual_functions}
            assert blocked is bool((set(group) | functions) & (host.used | host.taken)), f"Host({number}), {group}"


def test_the_hosts_are_of_every_kind() -> None:
    """Else nothing is shown by them."""
    hosts = [Host(number) for number in range(HOSTS)]
    assert sum(any(host.may_go(address) for address in host.devices) for host in hosts) > HOSTS // 2
    assert sum(bool(host.used) for host in hosts) > HOSTS // 2
    codes = {need.code for host in hosts for needs in host.inventory.needs.values() for need in needs}
    assert codes >= {"mounted", "swap", "claimed", "raid", "lvm", "crypt", "multipath", "bridge", "bond", "address"}
