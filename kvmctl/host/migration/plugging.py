"""Takes devices of the host out of a guest that is to move, and puts their likes into it where it is then.

What was taken out is in the journal before it is, so that whoever finishes the move puts it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kvmctl.errors import KvmctlError
from kvmctl.host.connection import translated
from kvmctl.host.hostdevs import release
from kvmctl.host.library import libvirt
from kvmctl.host.migration import journal as journals
from kvmctl.host.pci.attaching import device_of
from kvmctl.host.pci.holders import assigned
from kvmctl.host.pci.inventory import inventory
from kvmctl.parallel import Work
from kvmctl.plan.migration.likes import carried, likes, swap
from kvmctl.plan.migration.told import Told
from kvmctl.plan.pci.trust import risky
from kvmctl.spec.model.trust import noted
from kvmctl.spec.xmltext import parse, render

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.migration.sides import Sides
    from kvmctl.plan.migration.ends import Guest
    from kvmctl.plan.migration.journal import Journal
    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.settle import Side

RELEASE_SECONDS = 30.0
"""How long the guest may take to let go of each."""


def likes_of(
    source: Host, target: Host, domain: libvirt.virDomain, vm: Guest
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The devices that it has and that can go, now or from its next boot on, with their likes at the target; and those
    of them whose state goes along."""
    with translated(vm=vm.name, doing="read its definition", host=source.name):
        documents = [vm.xml]
        if vm.running and vm.persistent:
            documents.append(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
    if not any(list(assigned(document)) for document in documents):
        return {}, ()
    known = inventory(source)
    return likes(documents, known, inventory(target)), carried([vm.xml], known) if vm.running else ()


def unplug(
    domain: libvirt.virDomain, looked: Looked, entry: Journal, work: Work, hear: Callable[[Told], None]
) -> Journal:
    """Have the guest let go of all that neither goes along nor has a twin. Raises TimedOut where it does not."""
    with translated(vm=entry.name, doing="look at its devices"):
        document = parse(domain.XMLDesc(0))
    for address, there in looked.likes.items():
        device = device_of(document, address)
        if device is None or address in looked.carried or device.find("teaming") is not None:
            continue
        hear(Told(kind="step", vm=entry.name, what=f"unplugging {address}"))
        entry = journals.step(entry, entry.step, unplugged=(*entry.unplugged, (render(device), there)))
        patience = Work(min(RELEASE_SECONDS, work.remaining()), work.cancelled)
        release(domain, address, partial(device_of, address=address), patience)
    return entry


def plug(sides: Sides, entry: Journal, side: Side) -> Iterator[str]:
    """Put them, or their likes, into the guest again; sentences of what was done, or was not."""
    for text, there in entry.unplugged:
        element = parse(f"<domain><devices>{text}</devices></domain>")
        [(address, _)] = assigned(element)
        if side == "target":
            swap(element, {address: there})
            address = there
        name = sides.targets[side].name
        again = f"kvmctl pci attach {entry.name} {address}"
        given = _Given()
        try:
            sides.act(side, _giving(entry.uuid, address, render(element[0][0]), given))
        except KvmctlError as problem:
            yield f"{address} of {name} could not be plugged in: {problem.message}; {again}"
            continue
        if given.kept:
            yield f"the guest has not let go of {address} of {name}; should it do so yet: {again}"
            continue
        what = f"plugged in {address} of {name}"
        if given.unsafe and side == "target":
            what += f", without {' and '.join(given.unsafe)}: kvmctl pci vfs CARD --vf I … on {name} itself sets it"
        yield what


@dataclass
class _Given:
    """What became of a device. `kept`: the guest had it still. `unsafe`: what it is trusted with, which nobody has set
    here."""

    kept: bool = False
    unsafe: tuple[str, ...] = ()


def _giving(uuid: str, address: str, text: str, given: _Given) -> Callable[[Host], None]:

    def give(host: Host) -> None:
        domain = host.conn.lookupByUUIDString(uuid)
        if "<interface" in text:
            kept = noted(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
            given.unsafe = tuple(risky(kept.get(address, {})))
        given.kept = device_of(parse(domain.XMLDesc(0)), address) is not None
        if not given.kept:
            domain.attachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    return give
