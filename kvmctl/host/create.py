"""Create a VM whole, or not at all.

The domain is defined first, with a mark in its metadata that says which disks are to be made and by whom; then the
disks are made; then the mark is taken away. A failure undoes all of it. What was killed half-way has the mark still: it
cannot be started, `delete` removes it with its disks, and the next `create` of that name clears it away first.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from kvmctl.errors import Conflict, KvmctlError, Refused
from kvmctl.host import embedded, storage
from kvmctl.host.blocks import look
from kvmctl.host.connection import translated
from kvmctl.host.deletion import undefine
from kvmctl.host.facts import gather
from kvmctl.host.library import libvirt
from kvmctl.host.moving import refit_others
from kvmctl.host.pci.assigning import check_unshared
from kvmctl.host.pci.mdevs import provide
from kvmctl.host.pci.trusting import entrust, needed
from kvmctl.host.placing import check_alone, retried
from kvmctl.host.settling import decide
from kvmctl.host.sockets import shorten_sockets
from kvmctl.plan.placement.request import ignores_stopped, is_exclusive
from kvmctl.plan.resolve import Resolved, resolve
from kvmctl.spec import metadata
from kvmctl.spec.model.trust import functions_of
from kvmctl.spec.nodes import to_yaml
from kvmctl.spec.plainly import to_plain
from kvmctl.spec.xmltext import parse, render

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.pci.trusting import Change
    from kvmctl.parallel import Work
    from kvmctl.spec.model.vm import Vm

Say = Callable[[str], None]
Steps = list[Callable[[], object]]


def planned(host: Host, vm: Vm, work: Work, *, start: bool = False, forced: Collection[str] = ()) -> dict[str, Any]:
    """What `create` would do, without doing it."""
    _claim(host, vm, clear=False)
    facts, _ = gather(host, vm, change=False)
    resolved = resolve(decide(host, vm, work, facts, forced=forced, start=start).vm, facts)
    _check_disks(host, resolved)
    look(host, resolved.document(), forced=forced, start=start)
    if start:
        _functions(host, resolved)
    xml = render(resolved.document())
    return {**_answer(host, resolved, uuid=vm.uuid, state=None), "xml": xml, "dry_run": True}


def create(host: Host, vm: Vm, work: Work, *, start: bool, say: Say, forced: Collection[str] = ()) -> dict[str, Any]:
    """Make the VM that a spec describes. Returns `name uuid state host disks`; raises with nothing left behind.

    `forced` are devices that it may take from the host.
    """
    if _claim(host, vm, clear=True):
        say(f"{vm.name}: cleared away what an interrupted create had left")
    facts, notes = gather(host, vm, change=True)

    def attempt() -> tuple[Resolved, tuple[str, ...], Element, libvirt.virDomain, Steps]:
        decided = decide(host, vm, work, facts, forced=forced, start=start)
        resolved = resolve(decided.vm, facts)
        _check_disks(host, resolved)
        blocks = look(host, resolved.document(), forced=forced, start=start)
        if start:
            _functions(host, resolved)
        work.check()
        kept = metadata.element(to_yaml(to_plain(vm)))
        metadata.note_devices(kept, decided.devices)
        undo: Steps = []
        try:
            # An mdev is made before the definition names it: without one it is nobody's, and the next create takes it.
            for mdev in decided.mdevs:
                provide(host, mdev, undo.append)
            work.check()
            domain = _define(host, resolved, kept)
            undo.append(partial(undefine, domain))
            check_unshared(host, domain.UUIDString(), decided.picked)
            if decided.placed:
                check_alone(host, domain.UUIDString(), running=ignores_stopped(vm), new=True)
        except BaseException as problem:
            _undo(undo, vm.name or "", problem)
            raise
        told = (*decided.sentences, *(f"{vm.name}: {each.what}" for each in blocks))
        return resolved, told, kept, domain, undo

    resolved, said, kept, domain, undo = retried(work, attempt)
    for note in (*notes, *said, *resolved.notes):
        say(note)
    try:
        for volume in resolved.volumes:
            work.check()
            # A failed `make` leaves nothing of its own, and what stands there then is somebody else's.
            storage.make(host, volume, work)
            undo.append(partial(storage.remove, host, volume.path, volume.pool))
        work.check()
        with translated(vm=vm.name or "", doing="finish it"):
            if vm.autostart:
                domain.setAutostart(1)
            if resolved.volumes:
                metadata.unmark(kept)
                _keep(domain, kept)
        if start:
            work.check()
            entrust(_functions(host, resolved), undo.append)
            with translated(vm=vm.name or "", doing="start it"):
                undo.append(lambda: domain.isActive() and domain.destroy())
                domain.createWithFlags(0)
            work.check()
        answer = _answer(host, resolved, uuid=domain.UUIDString(), state="running" if start else "stopped")
    except BaseException as problem:
        _undo(undo, vm.name or "", problem)
        raise
    if is_exclusive(resolved.vm):
        for moved in refit_others(host, but=domain.UUIDString()):
            say(moved)
    return answer


def _functions(host: Host, resolved: Resolved) -> list[Change]:
    """What is to be set of its virtual functions when it starts. Raises Refused where that cannot be done."""
    return needed(host, functions_of(resolved.document()), vm=resolved.vm.name or "")


def _answer(host: Host, resolved: Resolved, *, uuid: str | None, state: str | None) -> dict[str, Any]:
    made = {volume.path: volume for volume in resolved.volumes}
    disks = [
        {"name": disk.name, "path": disk.path or disk.nvme, "format": disk.format, "created": disk.path in made}
        for disk in resolved.vm.disks
    ]
    return {"name": resolved.vm.name, "uuid": uuid, "state": state, "host": host.name, "disks": disks}


def _claim(host: Host, vm: Vm, *, clear: bool) -> bool:
    """Raise if the name or the UUID is taken. With `clear`, what a dead process left half-created is cleared away."""
    name = vm.name or ""
    with translated(vm=name, doing="look whether it exists"):
        taken = _found(lambda: host.conn.lookupByName(name))
        if taken is None:
            twin = _found(lambda: host.conn.lookupByUUIDString(vm.uuid)) if vm.uuid else None
            if twin is not None:
                raise Conflict(
                    "vm-exists",
                    f"{host.name} has a VM of that UUID: {twin.name()}",
                    hint="leave out uuid: to have a new one",
                    vm=name,
                )
            return False
        definition = parse(taken.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    creating = definition.find(f"metadata/{metadata.VM}/{metadata.CREATING}")
    if creating is None:
        raise Conflict("vm-exists", f"{host.name} has a VM of that name already", hint=f"kvmctl show {name}", vm=name)
    _check_maker(creating, name)
    if clear:
        for disk in creating.findall(metadata.DISK):
            storage.remove(host, disk.get("path", ""), disk.get("pool"))
        with translated(vm=name, doing="clear it away"):
            undefine(taken)
    return True


def _check_maker(creating: Element, name: str) -> None:
    """Raise unless the process that was making the VM is known to be dead."""
    maker, pid = creating.get("host", "?"), creating.get("pid", "?")
    where = f"process {pid} on {maker}, since {creating.get('since', '?')}"
    if maker != socket.gethostname():
        raise Refused(
            "vm-half-created",
            f"it is being created, or was left half-created, by {where}",
            hint=f"if that is dead, 'kvmctl delete {name}' removes what it left",
            vm=name,
        )
    if pid.isdecimal() and _started(int(pid)) == creating.get("started"):
        raise Conflict("vm-exists", f"it is being created by {where}", vm=name)


def _started(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks since boot; with the number it tells a process for sure."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _found(look_up: Callable[[], libvirt.virDomain]) -> libvirt.virDomain | None:
    try:
        return look_up()
    except libvirt.libvirtError as problem:
        if problem.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
    return None


def _check_disks(host: Host, resolved: Resolved) -> None:
    for volume in resolved.volumes:
        if storage.exists(host, volume):
            raise Conflict(
                "disk-exists",
                f"{volume.path} is there already, and would have been made",
                hint="remove it, or use it as it is with path: instead of size:",
                vm=resolved.vm.name or "",
            )


def _define(host: Host, resolved: Resolved, kept: Element) -> libvirt.virDomain:
    """Define the domain: the step that claims the name, and the only one where there are no disks to make."""
    document = resolved.document()
    if resolved.volumes:
        disks = [(volume.path, volume.pool) for volume in resolved.volumes]
        since = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"host": socket.gethostname(), "pid": str(os.getpid()), "started": _started(os.getpid()) or ""}
        metadata.mark(kept, disks, since=since, **who)
    metadata.attach(document, kept)
    if host.embedded:
        shorten_sockets(document, embedded.root_of(host.target))
    name = resolved.vm.name or ""
    with translated(vm=name, doing="define it"):
        return host.conn.defineXMLFlags(render(document), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def _keep(domain: libvirt.virDomain, kept: Element) -> None:
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT,
        metadata.bare(kept),
        metadata.PREFIX,
        metadata.NAMESPACE,
        libvirt.VIR_DOMAIN_AFFECT_CONFIG,
    )


def _undo(steps: Steps, name: str, problem: BaseException) -> None:
    """Take back what was done, last first; what cannot be taken back is told with the error itself."""
    left = []
    for step in reversed(steps):
        try:
            with translated(vm=name, doing="undo what was done"):
                step()
        except KvmctlError as failure:
            left.append(failure.message)
    if left and isinstance(problem, KvmctlError):
        problem.details = (*problem.details, *(f"and it could not be undone: {message}" for message in left))
        problem.hint = problem.hint or f"kvmctl delete {name} removes what is left"
