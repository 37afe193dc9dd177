"""What is done to one VM, given libvirt's domain: each a call or two, with libvirt's errors told in our own terms.

Nothing here waits for a guest. Whatever the wish was fulfilled already is no error: the answer says whether
anything changed. Names are looked up, and answers put together, in `lifecycle` and `waiting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmctl.errors import Refused
from kvmctl.host import states
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.undoing import Undo
from kvmctl.plan.placement.pins import pins_of
from kvmctl.spec.metadata import CREATING, VM
from kvmctl.spec.model import scsi
from kvmctl.spec.model.disk import block_sources
from kvmctl.spec.model.pci import has_assigned
from kvmctl.spec.model.trust import functions_of
from kvmctl.spec.model.usb import given
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.pci.trusting import Change

IN_THE_WAY = (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_INTERNAL_ERROR)
"""Codes with which drivers say that a VM is, or is not, running: QEMU's the first, the test driver the second.

What stands beside the code is in the daemon's language, so the VM itself is looked at where it is not English.
"""


def start(
    host: Host,
    domain: libvirt.virDomain,
    *,
    paused: bool = False,
    again: bool = False,
    forced: Collection[str] = (),
) -> str:
    """Start a VM, or what was saved of it. Empty then; the state of one that ran already.

    Raises Conflict for CPUs that a running VM has alone; only of a VM that is pinned the others are looked at. One that
    ran until now (`again`) may stay where it was. Devices of the host are looked at of a VM that has some; `forced` are
    those that it may take from the host. What SCSI devices it has is found again, and its definition says where, since
    hosts count them anew. Its virtual functions are set first, and back if it does not start.
    """
    name = domain.name()
    with translated(vm=name, doing="look at it"):
        definition = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        _refuse_half_created(name, definition)
        pinned = not again and pins_of(definition).vcpus and not domain.isActive()
    changes: list[Change] = []
    if has_assigned(definition) and not domain.isActive():
        from kvmctl.host.pci.assigning import look
        from kvmctl.host.pci.trusting import needed

        look(host, definition, forced=forced)
        changes = needed(host, functions_of(definition), vm=name, again=again)
    if any(given(definition)) and not domain.isActive():
        from kvmctl.host.usb.assigning import look as look_at_usb

        look_at_usb(host, definition, forced=forced)
    units = None
    if any(scsi.given(definition)) and not domain.isActive():
        from kvmctl.host.scsi.assigning import look as look_at_scsi

        units = look_at_scsi(host, definition, forced=forced)
    if any(block_sources(definition)) and not domain.isActive():
        from kvmctl.host.blocks import look as look_at_blocks

        look_at_blocks(host, definition, forced=forced)
    if pinned:
        from kvmctl.host.placing import check_alone

        check_alone(host, domain.UUIDString(), running=True)
    if units is not None and units.moved:
        from kvmctl.host.scsi.assigning import move

        move(domain, units)
    with Undo(name) as undo, translated(vm=name, doing="start it"):
        if changes:
            from kvmctl.host.pci.trusting import entrust

            entrust(changes, undo.add)
        try:
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
            return ""
        except libvirt.libvirtError as problem:
            if not _says(problem, "already running", "already active", "is running") and not (
                problem.get_error_code() in IN_THE_WAY and domain.isActive()
            ):
                raise
        state, reason = states.words(*domain.state())
    if state not in (states.RUNNING, states.PAUSED if paused else states.RUNNING):
        why = f" ({reason})" if reason else ""
        hint = f"kvmctl resume {name}" if state == states.PAUSED else f"kvmctl stop --force {name}"
        raise Refused("vm-running", f"is {state}{why}, so it cannot be started", hint=hint, vm=name)
    return state


def ask_to_stop(domain: libvirt.virDomain) -> bool:
    """Ask the guest to shut down, by agent or power button. False if the VM does not run."""
    with translated(vm=domain.name(), doing="ask it to shut down"):
        return _unless_off(domain, domain.shutdown)


def pull_plug(domain: libvirt.virDomain) -> bool:
    """End a VM at once. False if it does not run."""
    with translated(vm=domain.name(), doing="stop it"):
        # A VM that ends by itself just then, or that the embedded host has just found again, is reported as
        # not running, and that is what was wished for.
        return _unless_off(domain, domain.destroy)


def reset(domain: libvirt.virDomain) -> bool:
    """Press the reset button."""
    with translated(vm=domain.name(), doing="reset it"):
        try:
            domain.reset(0)
        except libvirt.libvirtError as problem:
            if problem.get_error_code() in IN_THE_WAY:
                _require_running(domain.name(), states.words(*domain.state())[0])
            raise
    return True


def pause(domain: libvirt.virDomain) -> bool:
    """Hold the vCPUs. False if they were held already."""
    with translated(vm=domain.name(), doing="pause it"):
        state = states.words(*domain.state())[0]
        _require_running(domain.name(), state)
        if state == states.PAUSED:
            return False
        domain.suspend()
    return True


def resume(domain: libvirt.virDomain) -> bool:
    """Let the vCPUs go on, and wake a guest that suspended itself. False if it runs already."""
    name = domain.name()
    with translated(vm=name, doing="resume it"):
        state, reason = domain.state()
        now = states.words(state, reason)[0]
        _require_running(name, now)
        if now == states.RUNNING:
            return False
        if state == libvirt.VIR_DOMAIN_PMSUSPENDED:
            domain.pMWakeup(0)
        else:
            domain.resume()
    return True


def set_autostart(domain: libvirt.virDomain, *, on: bool) -> bool:
    """Have a VM started with its host, or no longer. False if it was so already."""
    name = domain.name()
    with translated(vm=name, doing="change whether it starts with its host"):
        if not domain.isPersistent():
            raise Refused("not-supported", "has no definition on the host that could be started", vm=name)
        if bool(domain.autostart()) == on:
            return False
        domain.setAutostart(int(on))
    return True


def check_can_restart(domain: libvirt.virDomain) -> bool:
    """Raise for a VM that would be gone once it is stopped."""
    name = domain.name()
    with translated(vm=name, doing="look at it"):
        if not domain.isPersistent():
            raise Refused(
                "not-supported",
                "has no definition on the host and would be gone once it is stopped",
                hint=f"kvmctl reset {name} starts it anew without stopping it",
                vm=name,
            )
    return True


DEEDS: dict[str, Callable[..., Any]] = {deed.__name__: deed for deed in (ask_to_stop, pull_plug, check_can_restart)}
"""What a watch can be asked to do; and to start a VM, for which the host must be looked at too."""


def _require_running(name: str, state: str) -> None:
    if state in states.OFF:
        raise Refused("vm-not-running", "is not running", hint=f"kvmctl start {name}", vm=name)


def _unless_off(domain: libvirt.virDomain, call: Callable[[], object]) -> bool:
    try:
        call()
    except libvirt.libvirtError as problem:
        if _says(problem, "not running", "not active") or (
            problem.get_error_code() in IN_THE_WAY and not domain.isActive()
        ):
            return False
        raise
    return True


def _says(problem: libvirt.libvirtError, *texts: str) -> bool:
    said = (problem.get_error_message() or "").lower()
    return problem.get_error_code() in IN_THE_WAY and any(text in said for text in texts)


def _refuse_half_created(name: str, definition: Element) -> None:
    """Raise for a VM whose disks a `create` was still making when it was killed, or makes right now."""
    if definition.find(f"metadata/{VM}/{CREATING}") is not None:
        raise Refused(
            "vm-half-created",
            "its disks are still being made, or were when its create was killed",
            hint=f"run the create again, or kvmctl delete {name}",
            vm=name,
        )
