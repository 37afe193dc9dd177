"""Before a move: the definition as the target is to have it, and volumes there for the disks that are copied.

Nothing is overwritten, and a failure takes back what was made. What was noted before it was made can be taken back by
another process (`undo`). QEMU fills the volumes of a running VM's disks while it moves, and sends memory only when they
are in sync; files that nobody writes are filled here. The source is only read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.migration import making
from kvmctl.host.migration.guest import guest
from kvmctl.host.migration.making import undo
from kvmctl.host.migration.survey import Ends, is_copied, survey
from kvmctl.plan.migration import copies, mapping
from kvmctl.plan.migration.copies import Copies
from kvmctl.plan.migration.likes import swap
from kvmctl.plan.migration.told import Told
from kvmctl.plan.migration.words import rate
from kvmctl.spec.xmltext import parse, render

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.sample import Sample
    from kvmctl.plan.migration.wish import Wish

__all__ = ["Prepared", "prepare", "undo"]

MOVING = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
WRITES_WAIT = 8_000_000
"""The version of libvirt that can copy a disk with writes that wait: 8.0."""
WATCH_SECONDS = 1.0
"""How long at least the guest's writing to its disks is watched."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the order of the move needs of it. `made` is to be undone if the VM does not move.

    `target_xml` is all that counts for a VM that is off. `written` is what the guest writes to the copied disks in a
    second, for `copies.synchronous`; `may_wait`: libvirt can have its writes wait for the target.
    """

    target_xml: str | None = None
    persistent_xml: str | None = None
    copied_disks: tuple[str, ...] = ()
    copied_layers: bool = False
    made: tuple[str, ...] = ()
    written: int = 0
    may_wait: bool = False


def prepare(
    source: Host,
    target: Host,
    domain: libvirt.virDomain,
    wish: Wish,
    looked: Looked,
    *,
    work: Work,
    hear: Callable[[Told], None] = lambda told: None,
    note: Callable[[tuple[str, ...]], object] = lambda made: None,
) -> Prepared:
    """Have the target ready. `note` is told of every volume before the first is made.

    Raises UsageError for a rule that maps nothing, Refused for what cannot be copied, Conflict for what is there.
    """
    if not (wish.maps or wish.copy_disks or looked.likes):
        return Prepared()
    vm = guest(source, domain)
    with translated(vm=vm.name, doing="read its definition", host=source.name):
        xml = domain.XMLDesc(MOVING | (0 if vm.running else libvirt.VIR_DOMAIN_XML_INACTIVE))
        next_xml = domain.XMLDesc(MOVING | libvirt.VIR_DOMAIN_XML_INACTIVE) if vm.running and vm.persistent else None
        mapping.check([domain.XMLDesc(0), *filter(None, (next_xml,))], wish.maps)
    decided, made, written, may_wait = Copies(), tuple[str, ...](), 0, False
    if wish.copy_disks:
        next_boot = parse(next_xml) if next_xml else None
        ends = Ends(source=source, target=target, domain=domain, vm=vm, maps=wish.maps, persistent=next_boot)

        def say(what: str) -> None:
            hear(Told(kind="step", vm=vm.name, what=what))

        def progress(sample: Sample) -> None:
            hear(Told(kind="progress", vm=vm.name, sample=sample))

        watch = _Watch(domain, [disk.target for disk in vm.disks if vm.running and is_copied(disk, looked)])
        decided = survey(ends, looked, work, say)
        may_wait = bool(decided.mirrored) and _can_wait(source) and _can_wait(target)
        written = watch.rate(work) if may_wait else 0
        if written:
            say(f"writes {rate(written)} to the disks that are copied")
        made = making.make(source, target, vm.name, decided, work=work, note=note, say=say, hear=progress)
    changed = bool(wish.maps or decided.flat or looked.likes)

    def there(text: str) -> str:
        document = parse(text)
        mapping.apply(document, wish.maps)
        copies.flatten(document, decided.flat)
        swap(document, looked.likes)
        return render(document)

    return Prepared(
        target_xml=there(xml) if changed else None,
        persistent_xml=there(next_xml) if next_xml and changed else None,
        copied_disks=decided.mirrored,
        copied_layers=decided.layers,
        made=made,
        written=written,
        may_wait=may_wait,
    )


def _can_wait(host: Host) -> bool:
    """Whether its libvirt can have a guest's writes wait for the target."""
    with translated(host=host.name):
        return int(host.conn.getLibVersion()) >= WRITES_WAIT


class _Watch:
    """How much a guest writes to some of its disks."""

    def __init__(self, domain: libvirt.virDomain, targets: Sequence[str]) -> None:
        self.domain, self.targets = domain, targets
        self.began = time.monotonic()
        self.before = self._written()

    def _written(self) -> int:
        with translated(vm=self.domain.name(), doing="ask how much it writes"):
            return sum(int(self.domain.blockStats(target)[3]) for target in self.targets)

    def rate(self, work: Work) -> int:
        """Bytes a second, since it began or in the next moment."""
        if not self.targets:
            return 0
        work.cancelled.wait(max(0.0, self.began + WATCH_SECONDS - time.monotonic()))
        return round((self._written() - self.before) / (time.monotonic() - self.began))
