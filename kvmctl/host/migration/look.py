"""Looks at both ends of a move before it: what stands in its way, and the facts that later steps rest on.

Changes nothing: a file that shows whether storage is shared is removed again. Both hosts are asked at the same time.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import tostring

from kvmctl import parallel
from kvmctl.errors import Refused, TimedOut
from kvmctl.host import bounded, secrets
from kvmctl.host.domains import find
from kvmctl.host.migration import blocks, met, reach, sharing
from kvmctl.host.migration.credentials import credentials
from kvmctl.host.migration.end import end, fit
from kvmctl.host.migration.guest import guest
from kvmctl.host.migration.place import planned
from kvmctl.host.migration.plugging import likes_of
from kvmctl.plan.migration.check import looked
from kvmctl.plan.migration.check_state import remembered
from kvmctl.plan.migration.disk import name_there, path_there
from kvmctl.plan.migration.ends import Ends, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.ends import Guest, SecretFault, Sight
    from kvmctl.plan.migration.looked import Looked
    from kvmctl.plan.migration.wish import Wish


LOOK_SECONDS = 60.0
"""How long both hosts may take to say what is there."""
SPARE_SECONDS = 6.0
"""More than `parallel.run` gives what has not come back in time."""


def look(source: Host, target: Host, name: str, wish: Wish, *, work: Work) -> Looked:
    """What was found of this VM at both ends, with every finding."""
    return looked(gathered(source, target, find(source, name), wish, work))


def gathered(source: Host, target: Host, domain: libvirt.virDomain, wish: Wish, work: Work) -> Ends:
    """The facts alone."""
    vm = guest(source, domain)
    able = not (source.embedded or target.embedded)

    def way() -> tuple[str, Way]:
        """One after the other: each holds the VM's job while it lasts."""
        if not able:
            return "", Way(asked=False)
        refusal = "" if vm.job else reach.refusal(target, domain, vm)
        return refusal, reach.way(source, target, domain, vm, wish, work)

    questions: dict[str, Callable[[], Any]] = {
        "source": lambda: end(source, vm, there=False),
        "target": lambda: end(target, vm, there=True),
        "fit": lambda: fit(target, vm),
        "unplaceable": lambda: _unplaceable(target, vm),
        "secret_faults": lambda: _secret_faults(target, vm, wish),
        "sights": lambda: _sights(source, target, vm, wish, work),
        "devices": lambda: likes_of(source, target, domain, vm),
        "way": way,
    }
    if wish.tls and vm.running:
        questions["client"] = lambda: credentials(source, "client")
        questions["server"] = lambda: credentials(target, "server")
    seconds = min(LOOK_SECONDS, work.remaining())
    try:
        outcomes, _ = bounded.call(
            lambda: parallel.run([*questions], lambda name, _: questions[name](), limit=seconds),
            seconds + SPARE_SECONDS,
            work=work,
        )
    except TimeoutError:
        raise TimedOut("timed-out", f"the hosts have not answered within {seconds:g} s", vm=vm.name) from None
    known: dict[str, Any] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        known[outcome.thing] = outcome.value
    refusal, known["way"] = known["way"]
    known["likes"], known["carried"] = known.pop("devices")
    shown = known.pop("server", None)
    known["target"] = replace(
        known["target"],
        unplaceable=known.pop("unplaceable"),
        secret_faults=known.pop("secret_faults"),
        credentials=shown,
    )
    known["source"] = replace(known["source"], credentials=known.pop("client", None))
    return Ends(wish=wish, guest=replace(vm, refusal=refusal), **known)


def _unplaceable(target: Host, vm: Guest) -> str:
    """Why the planner finds no place for a VM whose place is kvmctl's to choose."""
    if not vm.running or vm.tenant is None or not vm.tenant.automatic:
        return ""
    try:
        planned(target, tostring(vm.xml, encoding="unicode"))
    except Refused as problem:
        return problem.message
    return ""


def _secret_faults(target: Host, vm: Guest, wish: Wish) -> dict[str, SecretFault]:
    """Of the secrets of encrypted disks, asked where these disks are at the target."""
    disks = {disk.encryption: disk.path for disk in vm.disks if disk.encryption and disk.path.startswith("/")}
    moved = _moved(target, vm, wish) if disks else {}
    places = {
        encryption: posixpath.dirname(moved.get(path) or path_there(path, wish.maps))
        for encryption, path in disks.items()
        if encryption.secret
    }
    files = {encryption: place for encryption, place in places.items() if not f"{place}/".startswith("/dev/")}
    return secrets.faults(target, files)


def _sights(source: Host, target: Host, vm: Guest, wish: Wish, work: Work) -> dict[str, Sight]:
    """All files and block devices that the VM has, as both hosts see them."""
    disks = [disk for disk in vm.disks if disk.path.startswith("/")]
    devices = {disk.path for disk in disks if disk.is_device}
    files = {disk.path for disk in disks} - devices
    written = {disk.path for disk in disks if disk.written} & files
    others = {path for disk in disks for path in disk.backing} | {*_files(vm)}
    devices |= {path for path in others if path.startswith("/dev/")}
    moved = _moved(target, vm, wish)

    def there(path: str) -> str:
        return moved.get(path) or path_there(path, wish.maps)

    return {
        **sharing.sights(source, target, written, (files | others) - devices, there, work),
        **blocks.sights(source, target, devices, there),
    }


def _moved(target: Host, vm: Guest, wish: Wish) -> dict[str, str]:
    """The paths of volumes, which the target's pool of that name has elsewhere perhaps."""
    known = met.pools(target) if any(disk.pool for disk in vm.disks) else None
    there = {disk: (known or {}).get(name_there("pool", disk.pool, wish.maps)) for disk in vm.disks if disk.path}
    return {disk.path: posixpath.join(pool.path, disk.volume) for disk, pool in there.items() if pool and pool.path}


def _files(vm: Guest) -> Iterator[str]:
    """What is read when it starts, and where lines of text go."""
    for place in ("os/loader", "os/kernel", "os/initrd", "os/dtb"):
        yield from _path(vm.xml.findtext(place))
    for nvram in vm.xml.iterfind("os/nvram"):
        yield from _path(nvram.get("template"))
    if not vm.running:
        yield from (path for _, path in remembered(vm.xml, vm.uuid))
    for kind in ("serial", "parallel", "console", "channel"):
        for line in vm.xml.iterfind(f"devices/{kind}"):
            for source in line.iterfind("source"):
                yield from _path(source.get("path") if line.get("type") == "file" else None)
            for log in line.iterfind("log"):
                yield from _path(log.get("file"))


def _path(text: str | None) -> Iterator[str]:
    text = (text or "").strip()
    if text.startswith("/"):
        yield text
