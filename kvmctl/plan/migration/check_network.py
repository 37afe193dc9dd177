"""Networks, bridges and filters of the VM's network devices at the target. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.plan.migration.disk import name_there
from kvmctl.plan.migration.verdicts import blocker, note

if TYPE_CHECKING:
    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.finding import Finding


def networks(ends: Ends) -> Iterator[Finding]:
    told = set()
    for finding in _cards(ends):
        if (finding.code, finding.subject) not in told:
            told.add((finding.code, finding.subject))
            yield finding


def _cards(ends: Ends) -> Iterator[Finding]:
    for card in ends.xml.iterfind("devices/interface"):
        source = card.find("source")
        given = {} if source is None else source.attrib
        kind = card.get("type")
        if kind == "network":
            yield from _network(ends, given.get("network", ""))
        elif kind == "bridge":
            yield from _interface(ends, given.get("bridge", ""), "bridge-missing", "bridge")
        elif kind == "direct":
            yield from _interface(ends, given.get("dev", ""), "interface-missing", "network interface")
        for chosen in card.iterfind("filterref"):
            name = chosen.get("filter", "")
            if ends.target.filters is not None and name not in ends.target.filters:
                what = f"{ends.target.name} has no network filter '{name}'"
                hint = f"virsh nwfilter-dumpxml {name} here, and nwfilter-define there"
                yield blocker("filter-missing", what, hint, subject=name)
    for listen in ends.xml.iterfind("devices/graphics/listen[@type='network']"):
        yield from _network(ends, listen.get("network", ""))


def _network(ends: Ends, name: str) -> Iterator[Finding]:
    there, target = name_there("network", name, ends.wish.maps), ends.target
    if target.networks is None or not name:
        return
    if there not in target.networks:
        what = f"{target.name} has no network '{there}'"
        known = ", ".join(sorted(target.networks)) or "none"
        hint = f"it has {known}: --map network:{name}=OTHER, or define '{there}' there: virsh net-define"
        yield blocker("network-missing", what, hint, subject=name)
    elif not target.networks[there]:
        what = f"the network '{there}' of {target.name} is not active"
        yield blocker("network-inactive", what, f"on {target.name}: virsh net-start {there}", subject=name)


def _interface(ends: Ends, name: str, code: str, word: str) -> Iterator[Finding]:
    there, known = name_there(word, name, ends.wish.maps), ends.target.interfaces
    # Some lists have names with letters replaced that a device's name cannot have there.
    if not name or known is None or there in known or re.sub(r"\W", "_", there) in known:
        return
    if ends.target.cards_only:
        what = f"nothing shows whether {ends.target.name} has a {word} '{there}': its libvirt has no interface driver"
        hint = "libvirt refuses the move if it is not there; the driver's package is libvirt-daemon-driver-interface"
        yield note("interface-unseen", what, hint, subject=name)
        return
    what = f"{ends.target.name} has no {word} '{there}'"
    hint = f"make it there, or --map bridge:{name}=OTHER" if word == "bridge" else "have one of that name there"
    yield blocker(code, what, hint, subject=name)
