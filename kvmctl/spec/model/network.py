"""The `networks:` list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.declare import group, nested, scalar, through
from kvmctl.spec.kinds import BOOLEAN, MAC, NAME, SIZE, Kind, choice, integer, pattern
from kvmctl.spec.lenses import Always, Around, Case, Scalar, require
from kvmctl.spec.model.pci import Address, in_full, is_function, selector

TYPES = ("network", "bridge", "user", "hostdev")
BRIDGE = pattern("a network interface of Linux", r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}", "br0")
MODEL = choice(
    *("virtio", "e1000e", "e1000", "igb", "rtl8139", "vmxnet3", "virtio-transitional", "virtio-non-transitional"),
    *("e1000-82544gc", "e1000-82545em", "i82551", "i82557b", "i82559er", "ne2k_pci", "pcnet", "usb-net"),
    *("spapr-vlan", "lan9118", "smc91c111", "tulip", "netfront"),
)


def _card(value: str) -> str:
    """A virtual function as a person names it; an address is written in full."""
    meant = selector(value)
    if not (meant.address or meant.vf_of or meant.alias or meant.name):
        raise ValueError(f"'{value[:80]}' is no network card; write an address, or vf_of:eth0 for any free function")
    return meant.address or value


CARD = Kind(
    what="an address, or vf_of:INTERFACE",
    schema={"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.: -]*$"},
    parse=_card,
    load=in_full,
)
TEAM = pattern("a name of letters, digits, _ and -", r"[A-Za-z0-9_-]{1,64}", "lan")
OWN = "ua-"
"""What libvirt has before an alias that is not of its own making."""
MOST = 2**41


def _rate(value: str) -> int:
    size = int(SIZE.parse(value))
    if size % 1024 or size > MOST:
        raise ValueError(f"'{value}' is not a whole number of KiB in a second, up to 2TiB")
    return size


def _rate_of(text: str) -> int:
    size = int(text) * 1024
    if not 0 < size <= MOST:
        raise ValueError(text)
    return size


RATE = Kind(
    what="a size for a second, such as 100MiB",
    schema=SIZE.schema,
    parse=_rate,
    show=SIZE.show,
    load=_rate_of,
    dump=lambda value: str(value // 1024),
)
"""libvirt counts in KiB a second: https://libvirt.org/formatdomain.html#quality-of-service"""


def is_known(element: Element) -> bool:
    """An interface of a type that this model covers."""
    return is_function(element) if element.get("type") == "hostdev" else element.get("type") in TYPES


class Team:
    """`<teaming>`: the card that stays has the team's name as its alias, the one that comes and goes names it."""

    def get(self, element: Element) -> str | None:
        teaming, alias = element.find("teaming"), element.find("alias")
        if teaming is None:
            return None
        if is_function(element):
            name = teaming.get("persistent") if teaming.get("type") == "transient" else None
        else:
            name = alias.get("name") if alias is not None and teaming.get("type") == "persistent" else None
        return name.removeprefix(OWN) if name and name.startswith(OWN) else None

    def put(self, element: Element, value: str | None) -> None:
        for old in element.findall("teaming"):
            element.remove(old)
        if value is None:
            return
        if is_function(element):
            SubElement(element, "teaming", {"type": "transient", "persistent": OWN + value})
        else:
            require(element, ("alias",)).set("name", OWN + value)
            SubElement(element, "teaming", {"type": "persistent"})


@group
class Limits:
    """What the card may transfer in a second, on average."""

    inbound: int | None = scalar("inbound/@average", RATE, "To the guest.", example="100MiB")
    outbound: int | None = scalar("outbound/@average", RATE, "From the guest.")


@group
class Network:
    """A network card, on a libvirt network, on a bridge of the host, in user mode, or a virtual function."""

    SHORTHAND: ClassVar = "network"

    network: str | None = through(
        Case("type", ("network",), Scalar("source/@network", NAME)), NAME, "libvirt network.", example="default"
    )
    bridge: str | None = through(
        Case("type", ("bridge",), Scalar("source/@bridge", BRIDGE)), BRIDGE, "Bridge of the host."
    )
    user: bool | None = through(
        Case("type", ("user",), Always()),
        BOOLEAN,
        "User mode: the guest reaches out, nothing reaches in; needs no set-up.",
    )
    hostdev: str | None = through(
        Case("type", ("hostdev",), Address()),
        CARD,
        "Virtual function of a card of the host: its address, or vf_of:eth0 for any that is free.",
        example="vf_of:eth0",
    )
    mac: str | None = scalar("mac/@address", MAC, "MAC address; made by libvirt if left out.")
    model: str | None = scalar("model/@type", MODEL, "Card the guest sees; virtio if left out.")
    mtu: int | None = scalar("mtu/@size", integer(68, 65535), "Largest packet in bytes.")
    link: str | None = scalar("link/@state", choice("up", "down"), "Whether the cable is plugged in.")
    boot_order: int | None = scalar("boot/@order", integer(1, 1000), "Place in the boot order, instead of boot:.")
    vlan: int | None = scalar("vlan/tag/@id", integer(1, 4094), "VLAN that a virtual function is in.")
    trust: bool | None = through(
        Around(),
        BOOLEAN,
        "Of a virtual function: whether the guest may change its MAC address and hear what is for others. kvmctl sets "
        "it when it starts the VM, for which it must be root on the host itself; false if left out.",
    )
    spoof_check: bool | None = through(
        Around(),
        BOOLEAN,
        "Of a virtual function: whether packets from other addresses than its own are dropped. Set like trust; true if "
        "left out.",
    )
    team: str | None = through(
        Team(),
        TEAM,
        "A virtual function and a virtio card with one MAC address: for the guest one card that can migrate.",
    )
    limits: Limits | None = nested("bandwidth", Limits, "Limits by second.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        given = [name for name in TYPES if getattr(self, name)]
        if len(given) != 1:
            said = f"{' and '.join(given)} exclude each other" if given else "what it is connected to is missing"
            yield (
                (given[1] if given else ""),
                said,
                "give one of network:, bridge:, user: true, hostdev:",
            )
        for name in ("model", "mtu", "link", "limits"):
            if self.hostdev and getattr(self, name):
                yield name, f"a virtual function has no {name} of its own", "leave it out"
        for name in ("trust", "spoof_check"):
            if not self.hostdev and getattr(self, name) is not None:
                yield (
                    name,
                    f"{name} is for virtual functions alone",
                    "leave it out, or give it one: hostdev: vf_of:eth0",
                )
        if self.team and not self.mac:
            yield "team", "the cards of a team have one MAC address, and it is missing here", "write mac: on both"
        if self.team and self.model not in (None, "virtio"):
            yield "model", "the card of a team that stays is one of virtio", "leave it out"
        if self.vlan and self.user:
            yield "vlan", "user mode knows no VLANs", "leave it out"


def name_of(card: Network) -> tuple[str, bool] | None:
    """What a card is known again by."""
    return (card.mac, bool(card.hostdev)) if card.mac else None


def check_teams(cards: Sequence[Network]) -> Iterator[tuple[str, str, str]]:
    """A team is two cards: one that stays, and one that is given to the guest."""
    for index, card in enumerate(cards):
        team = [other for other in cards if card.team and other.team == card.team]
        if not team or team[0] is not card:
            continue
        if sorted(bool(other.hostdev) for other in team) != [False, True] or len({other.mac for other in team}) != 1:
            hint = "give team: to one card with hostdev: and to one on a network or bridge, with one mac:"
            yield f"networks[{index}].team", f"'{card.team}' is no pair of cards with one MAC address", hint
