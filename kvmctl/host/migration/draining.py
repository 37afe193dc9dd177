"""Emptying a host: which VMs it has, where there is room, and what has left already.

What has left is noted in a file for each emptied host in kvmctl's state directory, so that `drain --undo` can bring
them back, and a drain that was interrupted goes on where it was. Moves nothing: `migrate` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl import parallel
from kvmctl.errors import KvmctlError, Refused
from kvmctl.host import targets
from kvmctl.host.connection import connect, translated
from kvmctl.host.keeping import drop, keep, locked
from kvmctl.host.migration.look import gathered
from kvmctl.plan.migration.check import looked
from kvmctl.plan.migration.drain import Guest, Plan, Room, plan

if TYPE_CHECKING:
    from pathlib import Path

    from kvmctl.host.connection import Host
    from kvmctl.host.library import libvirt
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.wish import Wish

AT_ONCE = 4
"""How many pairs of VM and host are looked at together."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """A VM that has left, and the host that it is on."""

    uuid: str
    name: str
    uri: str
    host: str


@dataclass(frozen=True, kw_only=True)
class Drain:
    """A plan, the hosts it is for by name, and what there is to say of those that cannot be asked."""

    plan: Plan
    targets: dict[str, Target]
    notes: tuple[str, ...]


def planned(
    source: Target, others: Sequence[Target], wish: Wish, *, stopped: bool, work: Work, timeout: float | None
) -> Drain:
    """Look at every VM of the host and at every host it could go to. `stopped`: definitions are to leave, too.

    Hosts that do not answer are left out, and told. Raises Refused where none is left.
    """
    notes: list[str] = []
    with ExitStack() as stack:
        here = stack.enter_context(connect(source, timeout=timeout, events=True, work=work))
        hosts = _reached(stack, here, others, notes, work=work, timeout=timeout)
        with translated(doing="list its VMs", host=here.name):
            domains = [domain for domain in here.conn.listAllDomains() if stopped or domain.isActive()]
        if not domains:
            return Drain(plan=plan((), ()), targets={}, notes=tuple(notes))
        if not hosts:
            raise Refused(
                "no-host-left",
                f"there is no host that VMs of {here.name} could go to",
                hint="name one with --to, or put hosts into config.yaml",
                details=notes,
            )
        pairs = [(domain, host) for domain in domains for host in hosts]
        outcomes, _ = parallel.run(
            pairs,
            lambda pair, work: gathered(here, pair[1], pair[0], wish, work),
            limit=work.remaining(),
            at_once=AT_ONCE,
        )
        found: dict[tuple[str, str], Ends] = {}
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            assert outcome.value is not None
            found[outcome.thing[0].UUIDString(), outcome.thing[1].name] = outcome.value
        guests = [_guest(domain, hosts, found) for domain in domains]
        rooms = [_room(host, found) for host in hosts]
    return Drain(
        plan=plan(guests, rooms),
        targets={host.name: host.target for host in hosts},
        notes=tuple(notes),
    )


def _reached(
    stack: ExitStack, here: Host, others: Sequence[Target], notes: list[str], *, work: Work, timeout: float | None
) -> list[Host]:
    """The hosts that answer, each once by whatever names it is configured, without the one that is to be emptied."""
    known, hosts = {_identity(here)}, []
    for other in others:
        try:
            host = stack.enter_context(connect(other, timeout=timeout, events=True, work=work))
            identity = _identity(host)
        except KvmctlError as problem:
            work.check()
            notes.append(f"{other.name}: left out: {problem.message}")
            continue
        if identity not in known:
            known.add(identity)
            hosts.append(host)
    return hosts


def _identity(host: Host) -> str:
    with translated(doing="ask which host it is", host=host.name):
        return ElementTree.fromstring(host.conn.getCapabilities()).findtext("host/uuid") or host.target.uri


def _guest(domain: libvirt.virDomain, hosts: Sequence[Host], found: dict[tuple[str, str], Ends]) -> Guest:
    uuid = domain.UUIDString()
    ends = [found[uuid, host.name] for host in hosts]
    vm = ends[0].guest
    return Guest(
        name=vm.name,
        uuid=uuid,
        memory=vm.memory,
        sends=(vm.resident or vm.memory) if vm.running else 0,
        active=vm.running,
        barred={
            host.name: tuple(blocker.what for blocker in blockers)
            for host, end in zip(hosts, ends)
            if (blockers := looked(end).blockers)
        },
    )


def _room(host: Host, found: dict[tuple[str, str], Ends]) -> Room:
    end = next(ends.target for (_, name), ends in found.items() if name == host.name)
    # What cannot be seen does not keep a VM here: libvirt says when it starts there.
    free = end.memory_free if end.memory_free is not None else 1 << 62
    return Room(host=host.name, free=free, total=end.memory or free)


# -- what has left --------------------------------------------------------------------------------------------------


def note(source: Target, vm: Left) -> None:
    """A VM has left the host."""
    _change(source, lambda others: [*others, vm], vm.uuid)


def forget(source: Target, uuid: str) -> None:
    """A VM is back, or is no longer ours to bring back."""
    _change(source, lambda others: others, uuid)


def gone(source: Target) -> tuple[Left, ...]:
    """What has left the host and was not brought back, in the order in which it left."""
    path = _path(source)
    try:
        return tuple(Left(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError) as problem:
        raise KvmctlError(
            "migration-failed",
            f"{path}: not a list of VMs that have left: {problem}",
            hint="remove the file; the VMs stay where they are",
        ) from problem


def _change(source: Target, change: Callable[[list[Left]], list[Left]], uuid: str) -> None:
    path = _path(source)
    with locked(path.parent):
        vms = change([vm for vm in gone(source) if vm.uuid != uuid])
        if vms:
            keep(path, [asdict(vm) for vm in vms])
        else:
            drop(path)


def _path(source: Target) -> Path:
    """By the host's URI, which may hold anything."""
    name = hashlib.sha256(source.uri.encode()).hexdigest()[:32]
    return targets.state_directory() / "drains" / f"{name}.json"
