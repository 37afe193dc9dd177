"""The `scsi:` list: SCSI devices of the host, disks, tapes and changers, that the guest drives itself.

One class is both: an entry of a spec, and what a person says on the command line (`selector`). Only an address has a
place in XML, and hosts give addresses anew at each boot: which device it is, is kept beside it in the VM's metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from kvmctl.spec.declare import beside, group, read, scalar, through
from kvmctl.spec.kinds import BOOLEAN, Kind, integer, pattern
from kvmctl.spec.lenses import Flag, find, prune, require
from kvmctl.spec.metadata import noted_devices

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ADDRESS = re.compile(r"\[?([0-9]{1,5}):([0-9]{1,5}):([0-9]{1,5}):([0-9]{1,19})\]?")
"""Host adapter, channel, target and LUN, as Linux writes them; lsscsi has brackets around them."""
ADAPTER = "scsi_host"
PARTS = ("bus", "target", "unit")
NODE = re.compile(r"(sd[a-z]{1,4}|sr[0-9]{1,4}|n?st[0-9]{1,4}|sg[0-9]{1,5}|sch[0-9]{1,4})")
"""What Linux calls disks, CD drives, tapes, the generic devices of all of these, and changers."""
NAMED = re.compile(r"(?:wwn-0x|0x|naa\.|eui\.)([0-9a-f]{16}|[0-9a-f]{32})", re.IGNORECASE)
WWNS = "(wwn-0x|0x|naa\\.|eui\\.)([0-9a-fA-F]{16}|[0-9a-fA-F]{32})"
Identity = Mapping[str, str]
"""`address`, and if they are known `product`, `serial` and `wwn`: which device it is."""


def in_full(text: str) -> str:
    """Without brackets and leading zeros. Raises ValueError for what is no address."""
    found = ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text[:80]}' is no SCSI address; write adapter, channel, target and LUN, as in 2:0:0:0")
    return ":".join(str(int(part)) for part in found.groups())


def is_address(text: str) -> bool:
    return ADDRESS.fullmatch(text) is not None


def wwn_of(text: str) -> str:
    """A WWN in its one form, 0x and 16 or 32 digits. Raises ValueError for what is none."""
    found = NAMED.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text[:80]}' is no WWN; write for example 0x5000c500a1b2c3d4")
    return f"0x{found.group(1).lower()}"


SCSI_ADDRESS = Kind(
    what="a SCSI address, such as 2:0:0:0",
    schema={"type": "string", "pattern": f"^{ADDRESS.pattern}$"},
    parse=in_full,
    load=in_full,
)
WWN = Kind(
    what="a WWN, such as 0x5000c500a1b2c3d4",
    schema={"type": "string", "pattern": f"^({WWNS})$"},
    parse=wwn_of,
)
SERIALS = r"[A-Za-z0-9_]([A-Za-z0-9_.+ -]{0,78}[A-Za-z0-9_.+-])?(-[0-9]{1,5}:[0-9]{1,19})?"
"""Of a disk behind USB, target and LUN are a part of it."""
SERIAL = pattern("a serial number", SERIALS, "S4EVNX0R")
PATHS = r"/dev(/[A-Za-z0-9_][A-Za-z0-9_.:,@#+=~%\\-]*)+"
DEVICE = pattern("a path below /dev", PATHS, "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4")


class Address:
    """`<adapter name='scsi_host2'/>` and the rest of the address beside it, below `<source>`."""

    def get(self, element: Element) -> str | None:
        adapter, address = find(element, ("source", "adapter")), find(element, ("source", "address"))
        name = "" if adapter is None else adapter.get("name", "")
        if address is None or not name.startswith(ADAPTER):
            return None
        numbers = [name.removeprefix(ADAPTER), *(address.get(part, "0") for part in PARTS)]
        return ":".join(numbers) if all(number.isdecimal() for number in numbers) else None

    def put(self, element: Element, value: str | None) -> None:
        adapter, address = require(element, ("source", "adapter")), require(element, ("source", "address"))
        for node, names in ((adapter, ("name",)), (address, PARTS)):
            for name in names:
                node.attrib.pop(name, None)
        if value is None:
            for name in ("adapter", "address"):
                prune(element, ("source", name))
            return
        host, *numbers = value.split(":")
        adapter.set("name", f"{ADAPTER}{host}")
        address.attrib.update(zip(PARTS, numbers))


def _word(text: str) -> str:
    """A word that says which device, in its one form."""
    entry = selector(text)
    return entry.address or entry.path or entry.wwn or entry.serial or ""


WHICH = Kind(
    what="a SCSI device: 2:0:0:0, /dev/sdb, a WWN or a serial number",
    schema={"type": "string", "pattern": f"^({ADDRESS.pattern}|{PATHS}|{WWNS}|{SERIALS})$"},
    parse=_word,
)


@group
class Scsi:
    """A SCSI device of the host; `device` says in one word which, the other keys say it apart.

    What is found when the VM is made is kept with it by WWN and serial number, and found again when it starts, at
    whatever address the host has it then.
    """

    CONSTANTS: ClassVar = {"mode": "subsystem", "type": "scsi", "managed": "no"}
    SHORTHAND: ClassVar = "device"

    device: str | None = beside(
        WHICH, "Which one: an address, a path or a name below /dev, a WWN or a serial number.", example="/dev/sdb"
    )
    address: str | None = through(
        Address(), SCSI_ADDRESS, "Its address on the host, as kvmctl scsi list and lsscsi show it.", example="2:0:0:0"
    )
    path: str | None = beside(DEVICE, "Its path on the host.", example="/dev/disk/by-id/wwn-0x5000c500a1b2c3d4")
    wwn: str | None = beside(WWN, "Its worldwide name.", example="0x5000c500a1b2c3d4")
    serial: str | None = beside(SERIAL, "Its serial number.")
    readonly: bool | None = through(Flag("readonly"), BOOLEAN, "The guest cannot write to it.")
    shareable: bool | None = through(
        Flag("shareable"), BOOLEAN, "Several VMs may have it at once, if each says so: their guests know how to."
    )
    boot_order: int | None = scalar("boot/@order", integer(1, 1000), "Place in the boot order, instead of boot:.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        told = [name for name in CHOOSING if getattr(self, name)]
        if not told:
            yield "", "which device is missing", "write an address, as in 2:0:0:0, or wwn: or serial: of it"
        for name in told[1:2]:
            yield name, f"{told[0]} and {name} both say which", "write one of the two"


CHOOSING = ("device", "address", "path", "wwn", "serial")


def selector(text: str) -> Scsi:
    """What a person means by a word. Raises ValueError with a sentence."""
    if ADDRESS.fullmatch(text):
        return Scsi(address=in_full(text))
    if NAMED.fullmatch(text):
        return Scsi(wwn=wwn_of(text))
    if text.startswith("/"):
        return Scsi(path=DEVICE.parse(text))
    if NODE.fullmatch(text):
        return Scsi(path=f"/dev/{text}")
    try:
        return Scsi(serial=SERIAL.parse(text))
    except ValueError:
        raise ValueError(
            f"'{text[:80]}' is no SCSI device; write an address (2:0:0:0), a disk (sdb, /dev/disk/by-id/…), a WWN "
            "(0x5000c500a1b2c3d4) or a serial number: kvmctl scsi list shows them"
        ) from None


def spelled_out(entry: Scsi) -> Scsi:
    """The entry with what `device` says in its own key."""
    if not entry.device:
        return entry
    meant = selector(entry.device)
    return replace(entry, device=None, **{name: getattr(meant, name) for name in CHOOSING[1:]})


def said(entry: Scsi) -> str:
    """Which one, in a word."""
    entry = spelled_out(entry)
    return entry.address or entry.path or entry.wwn or entry.serial or ""


def is_unit(element: Element) -> bool:
    """A `<hostdev>` for a SCSI device at an adapter of the host; one of an iSCSI target is found from any host."""
    plain = element.get("type") == "scsi" and element.get("mode") == "subsystem"
    return plain and Address().get(element) is not None


def given(domain: Element) -> Iterator[tuple[Element, Scsi]]:
    """The SCSI devices of the host that a domain has."""
    for element in domain.iterfind("devices/hostdev[@type='scsi']"):
        if Address().get(element) is not None:
            yield element, read(Scsi, element)


def identified(domain: Element) -> Iterator[tuple[Identity, bool]]:
    """Which devices a domain has, and whether it would share each."""
    kept = noted(domain)
    return ((kept[entry.address or ""], bool(entry.shareable)) for _, entry in given(domain))


def noted(domain: Element) -> dict[str, Identity]:
    """Which device each of a domain's addresses was, with no more than the address where nothing is kept of it."""
    kept = {note.get("address", ""): note for note in noted_devices(domain)}
    return {
        entry.address: kept.get(entry.address, {"address": entry.address})
        for _, entry in given(domain)
        if entry.address
    }
