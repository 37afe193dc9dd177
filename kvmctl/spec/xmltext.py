"""XML text <-> elements. Foreign XML is never trusted: no DTD, no entities, a size limit.

Unknown elements, attributes and namespace prefixes come out as they went in; comments, which libvirt drops, do not.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

from kvmctl.spec import metadata

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LIMIT = 4 * 2**20
"""Bytes of XML that are accepted; libvirt's own messages end far below."""

_PREFIX = re.compile(r"""xmlns:([A-Za-z_][\w.-]*)\s*=\s*["']([^"']+)["']""")

OURS = {"qemu": "http://libvirt.org/schemas/domain/qemu/1.0", metadata.PREFIX: metadata.NAMESPACE}
"""What kvmctl writes by itself is written with these prefixes, whatever prefixes were read before."""

for _prefix, _uri in OURS.items():
    ElementTree.register_namespace(_prefix, _uri)


def parse(text: str) -> Element:
    """The root element. Raises ValueError with a sentence that names the line."""
    if len(text) > LIMIT:
        raise ValueError(f"the XML is larger than {LIMIT // 2**20} MiB")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("the XML has a document type declaration, which is not accepted")
    for prefix, uri in _PREFIX.findall(text):
        if prefix in OURS or uri in OURS.values() or re.fullmatch(r"ns\d+|xml.*", prefix):
            continue  # the last are ElementTree's own
        ElementTree.register_namespace(prefix, uri)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as problem:
        line, column = problem.position
        what = str(problem).partition(":")[0]
        raise ValueError(f"the XML is not well-formed: {what}, line {line}, column {column + 1}") from None


def render(element: Element) -> str:
    """The element as indented text."""
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode") + "\n"


def canonical(element: Element) -> str:
    """The same text for documents that differ in white space and the order of attributes alone."""
    text = ElementTree.tostring(element, encoding="unicode")
    return ElementTree.canonicalize(text, strip_text=True, rewrite_prefixes=True)


def parse_raw(text: str) -> Element:
    """The <domain> fragment of `raw_xml`. Raises ValueError with a sentence."""
    fragment = parse(text)
    if fragment.tag != "domain":
        raise ValueError(f"raw_xml holds a <{fragment.tag}> element; it must be a <domain> with the additions inside")
    return fragment
