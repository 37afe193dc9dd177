"""The `memory:` group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from kvmctl.spec.declare import group, scalar, through
from kvmctl.spec.kinds import BOOLEAN, SIZE, boolean, choice
from kvmctl.spec.lenses import Flag, SizeAt

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_MOST, _NOW = SizeAt("memory"), SizeAt("currentMemory")


class _Size:
    """<currentMemory> where it is there, else <memory>."""

    def get(self, element: Element) -> int | None:
        return _MOST.get(element) if element.find("currentMemory") is None else _NOW.get(element)

    def put(self, element: Element, value: int | None) -> None:
        alike = _Most().get(element) is None
        if alike:
            _MOST.put(element, value)
        _NOW.put(element, value)


class _Most:
    """<memory> where <currentMemory> is there and less; None where the two are not told apart."""

    def get(self, element: Element) -> int | None:
        most, now = _MOST.get(element), _NOW.get(element)
        return most if now is not None and most != now else None

    def put(self, element: Element, value: int | None) -> None:
        now = _NOW.get(element) or _MOST.get(element)
        if value is None:
            _MOST.put(element, now)
        else:
            _MOST.put(element, value)
            _NOW.put(element, now)


@group
class Memory:
    """Memory of the guest."""

    SHORTHAND: ClassVar = "size"

    size: int | None = through(_Size(), SIZE, "Memory the guest has.", example="4GiB")
    max: int | None = through(_Most(), SIZE, "Memory the guest can be given by the balloon; without it, size.")
    hugepages: int | None = through(
        SizeAt("memoryBacking/hugepages/page/@size"),
        SIZE,
        "Back it with the host's huge pages of this size.",
        example="2MiB",
    )
    locked: bool | None = through(Flag("memoryBacking/locked"), BOOLEAN, "Never let the host swap it out.")
    source: str | None = scalar(
        "memoryBacking/source/@type",
        choice("anonymous", "memfd", "file"),
        "What it is made of: anonymous memory, a memfd (memory with a handle, to be shared), or a file below QEMU's "
        "memory_backing_dir.",
    )
    shared: bool | None = scalar(
        "memoryBacking/access/@mode",
        boolean("shared", "private"),
        "Other processes of the host, those of virtiofs or vhost-user for example, may share it.",
    )
    prealloc: bool | None = scalar(
        "memoryBacking/allocation/@mode",
        boolean("immediate", "ondemand"),
        "Take all of it from the host before the guest starts.",
    )

    def check(self) -> Iterator[tuple[str, str, str]]:
        if self.size and self.size < 2**20:
            yield "size", "less than 1MiB of memory starts no guest", "did you mean GiB?"
        if self.max and not self.size:
            yield "max", "max is given without size", "write size: too, the memory at boot"
        if self.size and self.max and self.max <= self.size:
            yield "max", "max must be more than size", "leave max out where the memory does not grow"
        for name in ("size", "max"):
            if (getattr(self, name) or 0) % 1024:
                yield name, "memory comes in whole KiB", "write a multiple of 1KiB"
        if self.hugepages and ((self.max or self.size or 0) % self.hugepages):
            yield "size", "the memory is not a whole number of huge pages", "write a multiple of hugepages"
        if self.hugepages and self.source == "anonymous":
            yield "source", "huge pages are not anonymous memory", "leave source out, or write memfd"
        if self.hugepages and self.prealloc is False:
            yield "prealloc", "huge pages are always taken before the guest starts", "leave prealloc out"
        if self.prealloc and self.max:
            yield (
                "prealloc",
                "prealloc takes all of max at once, so that nothing is left to be given later",
                "leave max out, or prealloc",
            )
