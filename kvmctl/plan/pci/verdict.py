"""Whether a VM can have a device, in a word and with the reason; and what must go along with it. Pure.

It is the guard's own answer to whether any VM could have the device, so that the two never say different things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.plan.pci.guard import blockers, check
from kvmctl.plan.pci.hindrances import WORDS, Word, hindrances, is_board, is_bound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvmctl.plan.migration.finding import Finding
    from kvmctl.plan.pci.facts import Inventory
    from kvmctl.plan.pci.hindrances import Hindrance, Uses

__all__ = ["WORDS", "Verdict", "Word", "is_board", "is_bound", "judged", "verdict"]

OF_GROUPS: dict[str, Word] = {"group-in-use": "in-use", "group-needed": "needed"}
"""What becomes of a device by the others of its group."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`reason` is a sentence, empty for what is simply free. `along` are the devices that go with it."""

    word: Word
    reason: str = ""
    along: tuple[str, ...] = ()

    @property
    def free(self) -> bool:
        return self.word in ("free", "free-with-group")


def verdict(inventory: Inventory, address: str) -> Verdict:
    """What `pci list` says of a device."""
    for hindrance in hindrances(inventory, address):
        return Verdict(word=hindrance.word, reason=hindrance.reason)
    stops = [stop for stop in blockers(check(inventory, [address])) if stop.code != "group-not-whole"]
    if stops:
        return Verdict(word=OF_GROUPS.get(stops[0].code, "not-assignable"), reason=stops[0].what)
    along = tuple(member.address for member in inventory.companions(address) if is_bound(member))
    if along:
        return Verdict(word="free-with-group", reason=f"{', '.join(along)} must go along", along=along)
    return _free(inventory, address)


def judged(inventory: Uses, device: str, found: Iterable[Hindrance], findings: Iterable[Finding]) -> Verdict:
    """The same of a device of another bus, of which this was found."""
    for hindrance in found:
        return Verdict(word=hindrance.word, reason=hindrance.reason)
    for stop in blockers(findings):
        return Verdict(word="not-assignable", reason=stop.what)
    return _free(inventory, device)


def _free(inventory: Uses, device: str) -> Verdict:
    stopped = [holder.vm for holder in inventory.holders.get(device, ()) if not holder.running]
    return Verdict(word="free", reason=f"assigned to {', '.join(stopped)}, stopped" if stopped else "")
