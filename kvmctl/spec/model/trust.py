"""What virtual functions of a VM are trusted with. libvirt has no element for that, so it is kept in kvmctl's metadata.

By address, since not every card has a MAC address before it is defined; what has no card is no part of the VM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.groups import Many
from kvmctl.spec.kinds import BOOLEAN
from kvmctl.spec.lenses import Scalar, prune, require
from kvmctl.spec.metadata import FUNCTION, VM
from kvmctl.spec.model.pci import is_function, name_of

KEYS = {key: Scalar(f"@{key}", BOOLEAN) for key in ("trust", "spoof_check")}
PARENTS = ("metadata", VM)


class Cards(Many):
    """Network cards, each with what is kept about the function that it is."""

    def get(self, element: Element) -> tuple[Any, ...]:
        kept = noted(element)
        return tuple(replace(card, **kept.get(card.hostdev or "", {})) for card in super().get(element))

    def put(self, element: Element, value: tuple[Any, ...]) -> None:
        super().put(element, value)
        given = {card.hostdev: {key: getattr(card, key) for key in KEYS} for card in value if card.hostdev}
        note(element, {**given, **{address: {} for address in noted(element) if address not in given}})


def functions_of(domain: Element) -> dict[str, dict[str, bool]]:
    """The virtual functions among a domain's network cards by address, and what is said of each, if anything."""
    kept = noted(domain)
    addresses = [name_of(card) or "" for card in domain.iterfind("devices/interface") if is_function(card)]
    return {address: kept.get(address, {}) for address in addresses}


def noted(domain: Element) -> dict[str, dict[str, bool]]:
    """What is kept of each function, by address; what is said of none is left out."""
    found: dict[str, dict[str, bool]] = {}
    for node in domain.iterfind("/".join((*PARENTS, FUNCTION))):
        said = {key: lens.get(node) for key, lens in KEYS.items()}
        found.setdefault(node.get("address", ""), {key: value for key, value in said.items() if value is not None})
    return found


def note(domain: Element, functions: Mapping[str, Mapping[str, bool | None]]) -> None:
    """Keep what is said of these functions, and no more what was; nothing of those of which nothing is said."""
    vm = require(domain, PARENTS)
    for node in vm.findall(FUNCTION):
        if node.get("address", "") in functions:
            vm.remove(node)
    for address, said in functions.items():
        if any(value is not None for value in said.values()):
            node = SubElement(vm, FUNCTION, {"address": address})
            for key, lens in KEYS.items():
                lens.put(node, said.get(key))
    prune(domain, PARENTS)


def rename(domain: Element, found: Mapping[str, str]) -> None:
    """Have what is kept of functions be kept of their likes on another host."""
    for node in domain.iterfind("/".join((*PARENTS, FUNCTION))):
        there = found.get(node.get("address", ""))
        if there:
            node.set("address", there)
