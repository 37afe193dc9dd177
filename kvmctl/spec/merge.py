"""`raw_xml`: merging a fragment into a domain, and finding the fragment that is left over.

`remainder(original, produced)` is what must be merged into `produced` to have `original` again: the way by which
`export` loses nothing. An element is matched with its namesake by a key where the model has one (a disk by its
target), else by its place among its namesakes.
"""

from __future__ import annotations

from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement

KEYS: dict[str, tuple[str, ...]] = {
    "devices/disk": ("target/@dev",),
    "devices/interface": ("mac/@address",),
    "devices/channel": ("target/@name",),
    "devices/graphics": ("@type",),
    "devices/serial": ("target/@port",),
    "devices/rng": ("backend/@model",),
    "devices/tpm": ("backend/@type",),
    "devices/controller": ("@type", "@index"),
    "devices/input": ("@type", "@bus"),
    "cpu/feature": ("@name",),
    "firmware/feature": ("@name",),
    "cputune/vcpupin": ("@vcpu",),
    "cputune/iothreadpin": ("@iothread",),
    "cputune/vcpusched": ("@vcpus",),
    "numatune/memnode": ("@cellid",),
    "numa/cell": ("@id",),
    "distances/sibling": ("@id",),
}
"""parent/tag -> where its key is. Of these, an element without a key matches nothing."""


def _paths(parent: Element, child: Element) -> tuple[str, ...]:
    return KEYS.get(f"{parent.tag}/{child.tag}", ())


def _key(element: Element, paths: tuple[str, ...]) -> tuple[str | None, ...]:
    """The values at the paths, () if there is none at all."""
    found = []
    for path in paths:
        *steps, attribute = path.split("/")
        node = element.find("/".join(steps)) if steps else element
        found.append(None if node is None else node.get(attribute[1:]))
    return tuple(found) if any(found) else ()


def _match(parent: Element, other: Element) -> list[tuple[Element, Element | None]]:
    """Each child with its partner among the other's children, or None; no partner serves twice."""
    free = list(other)
    pairs: list[tuple[Element, Element | None]] = []
    for child in parent:
        same = (candidate for candidate in free if candidate.tag == child.tag)
        paths = _paths(parent, child)
        if paths:
            key = _key(child, paths)
            same = (candidate for candidate in same if key and _key(candidate, paths) == key)
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
    for child, partner in _match(fragment, base):
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
    pairs = _match(original, produced)
    needed = {child.tag for child, partner in pairs if partner is None or remainder(child, partner) is not None}
    for child, partner in pairs:
        if partner is None:
            left.append(deepcopy(child))
        elif child.tag in needed:
            # Namesakes without anything left are mentioned too, so that the others keep their places.
            rest = remainder(child, partner)
            left.append(_name(Element(child.tag) if rest is None else rest, child, _paths(original, child)))
    return left if left.attrib or len(left) or _text(left) else None


def _name(fragment: Element, original: Element, paths: tuple[str, ...]) -> Element:
    """Give a fragment the key by which it is matched."""
    for path, value in zip(paths, _key(original, paths), strict=False):
        *steps, attribute = path.split("/")
        node = fragment
        for step in steps:
            found = node.find(step)
            node = SubElement(node, step) if found is None else found
        if value is not None:
            node.set(attribute[1:], value)
    return fragment
