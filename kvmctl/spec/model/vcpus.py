"""Lenses of `cpu.count`, `cpu.max` and `cpu.model`: values that share an element, or are spread over several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.declare import beside, group
from kvmctl.spec.kinds import WORD, Kind, choice
from kvmctl.spec.lenses import prune, require

MODES = ("host-model", "host-passthrough", "maximum")
MODEL = choice(*MODES, "default", more=WORD)


class Count:
    """<vcpu current='4'>8</vcpu>: 4 at boot, 8 at most; without `current` both are the same."""

    def get(self, element: Element) -> int | None:
        node = element.find("vcpu")
        try:
            return None if node is None else int(node.get("current") or node.text or "")
        except ValueError:
            return None

    def put(self, element: Element, value: int | None) -> None:
        node = element.find("vcpu")
        if value is None:
            if node is not None:
                element.remove(node)
            return
        if node is None:
            node = SubElement(element, "vcpu", placement="static")
        if node.get("current"):
            node.set("current", str(value))
        else:
            node.text = str(value)


class Most:
    """The larger number of <vcpu current='4'>8</vcpu>; None where the two are not told apart."""

    def get(self, element: Element) -> int | None:
        node = element.find("vcpu[@current]")
        try:
            return None if node is None else int(node.text or "")
        except ValueError:
            return None

    def put(self, element: Element, value: int | None) -> None:
        node = require(element, ("vcpu",))
        if value is None:
            node.text = node.attrib.pop("current", node.text)
            prune(element, ("vcpu",))
            return
        node.set("current", node.get("current") or node.text or str(value))
        node.text = str(value)


def _host(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("is not the name of a host")
    if ":" in value:
        raise ValueError(f"'{value[:80]}' is a URI, which can run commands; give the host a name in config.yaml")
    return value


HOST = Kind(what="the name of a host of config.yaml", schema={"type": "string", "pattern": "^[^:]+$"}, parse=_host)


@group
class Baseline:
    """The best CPU that several hosts share, so that the VM can be migrated among them."""

    baseline: tuple[str, ...] = beside(
        HOST,
        "The best CPU that all these hosts of config.yaml have, computed when the VM is created.",
        many=True,
        example="[host1, host2]",
    )

    REQUIRED: ClassVar = ("baseline",)

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not self.baseline:
            yield "baseline", "no host is named", "write baseline: [host1, host2]"


class Model:
    """A mode is written as such; a name is <cpu mode='custom' match='exact'><model>NAME</model></cpu>.

    What is still to be computed leaves the document as it is.
    """

    def get(self, element: Element) -> str | None:
        node = element.find("cpu")
        if node is None:
            return None
        if node.get("mode", "custom") != "custom":
            return node.get("mode") if node.get("mode") in MODES else None
        return node.findtext("model") or None

    def put(self, element: Element, value: Any) -> None:
        if isinstance(value, Baseline):
            return
        node = require(element, ("cpu",))
        for old in node.findall("model"):
            node.remove(old)
        for name in ("mode", "match", "check"):
            node.attrib.pop(name, None)
        if value in MODES:
            node.set("mode", str(value))
        elif value is not None:
            node.attrib.update(mode="custom", match="exact")
            require(node, ("model",)).text = value
        prune(element, ("cpu",))
