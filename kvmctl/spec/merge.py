"""`raw_xml`: merging a fragment into a domain, and finding the fragment that is left over.

`remainder(original, produced)` is what must be merged into `produced` to have `original` again: the way by which
`export` loses nothing. An element is matched with its namesake by a key where the model has one (a disk by its
target), else by its place among its namesakes.
"""

from __future__ import annotations

from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement

KEYS = {
    "disk": "target/@dev",
    "interface": "mac/@address",
    "channel": "target/@name",
    "feature": "@name",
    "vcpupin": "@vcpu",
    "iothreadpin": "@iothread",
    "graphics": "@type",
    "serial": "target/@port",
    "rng": "backend/@model",
    "tpm": "backend/@type",
}
"""tag -> where its key is. Elements of these tags without a key match nothing."""

COMPOUND = {"controller": ("type", "index"), "input": ("type", "bus")}
"""tag -> attributes that make up its key."""


def _key(element: Element) -> object:
    if element.tag in COMPOUND:
        return tuple(element.get(name) for name in COMPOUND[element.tag])
    path = KEYS.get(element.tag)
    if path is None:
        return None
    *steps, attribute = path.split("/")
    node = element.find("/".join(steps)) if steps else element
    return None if node is None else node.get(attribute[1:])


def _keyed(element: Element) -> bool:
    return element.tag in KEYS or element.tag in COMPOUND


def _match(children: list[Element], against: list[Element]) -> list[tuple[Element, Element | None]]:
    """Each child with its partner among the others, or None; no partner serves twice."""
    free = list(against)
    pairs: list[tuple[Element, Element | None]] = []
    for child in children:
        same = (other for other in free if other.tag == child.tag)
        if _keyed(child):
            key = _key(child)
            same = (other for other in same if key is not None and _key(other) == key)
        partner = next(same, None)
        if partner is not None:
            free.remove(partner)
        pairs.append((child, partner))
    return pairs


def _text(element: Element) -> str:
    return (element.text or "").strip()


def merge(base: Element, fragment: Element) -> None:
    """Merge a fragment into an element, in place. Attributes and text of the fragment win."""
    base.attrib.update(fragment.attrib)
    if _text(fragment):
        base.text = fragment.text
    mentioned: dict[str, list[Element]] = {}
    for child, partner in _match(list(fragment), list(base)):
        if partner is None:
            added = deepcopy(child)
            base.append(added)
        else:
            added = partner
            merge(added, child)
        mentioned.setdefault(child.tag, []).append(added)
    for tag, order in mentioned.items():
        _reorder(base, tag, order)


def _reorder(base: Element, tag: str, order: list[Element]) -> None:
    """A fragment that names all elements of a tag says their order too."""
    places = [index for index, element in enumerate(base) if element.tag == tag]
    if len(places) == len(order):
        for index, element in zip(places, order):
            base[index] = element


def remainder(original: Element, produced: Element) -> Element | None:
    """What `produced` lacks of `original`, as a fragment; None if nothing."""
    left = Element(original.tag)
    for name, text in original.attrib.items():
        if produced.get(name) != text:
            left.set(name, text)
    if _text(original) != _text(produced):
        left.text = original.text
    pairs = _match(list(original), list(produced))
    needed = {child.tag for child, partner in pairs if partner is None or remainder(child, partner) is not None}
    for child, partner in pairs:
        if partner is None:
            left.append(deepcopy(child))
        elif child.tag in needed:
            # Namesakes without anything left are mentioned too, so that the others keep their places.
            rest = remainder(child, partner)
            left.append(_name(Element(child.tag) if rest is None else rest, child))
    return left if left.attrib or len(left) or _text(left) else None


def _name(fragment: Element, original: Element) -> Element:
    """Give a fragment the key by which it is matched."""
    for name in COMPOUND.get(original.tag, ()):
        value = original.get(name)
        if value is not None:
            fragment.set(name, value)
    if original.tag in KEYS:
        *steps, attribute = KEYS[original.tag].split("/")
        key = _key(original)
        if isinstance(key, str):
            node = fragment
            for step in steps:
                found = node.find(step)
                node = SubElement(node, step) if found is None else found
            node.set(attribute[1:], key)
    return fragment
